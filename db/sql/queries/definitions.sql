-- pattern_definitions --
-- Through JSON, because the application's table may lack columns of ours. Numbers and JSON as text: a value that no
-- float8 or driver can hold makes only its own row wrong.
SELECT d.name, d.given ->> 'confidence_threshold',
       CASE jsonb_typeof(d.given -> 'applicable_timeframes')
           WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(d.given -> 'applicable_timeframes')) END,
       (d.given -> 'parameters')::text
  FROM (SELECT p.name, to_jsonb(p) AS given FROM pattern_definitions p WHERE p.enabled) AS d
 ORDER BY (d.given ->> 'display_order')::numeric, d.name;

-- indicator_definitions --
SELECT d.name, (d.given ->> 'period')::int,
       CASE jsonb_typeof(d.given -> 'applicable_timeframes')
           WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(d.given -> 'applicable_timeframes')) END,
       (d.given -> 'parameters')::text
  FROM (SELECT i.name, to_jsonb(i) AS given FROM indicator_definitions i WHERE i.enabled) AS d
 ORDER BY (d.given ->> 'display_order')::numeric, d.name;

-- seed_definitions --
-- An existing row, the application's or an edited one, is unchanged.
SELECT insert_known_columns(%(table)s::regclass, %(rows)s::jsonb);

-- seeded_definitions --
SELECT (SELECT array_agg(name::text) FROM pattern_definitions), (SELECT array_agg(name::text) FROM indicator_definitions);

-- correct_pattern_references --
-- Only in rows that this program made: the application's rows name its own code.
UPDATE pattern_definitions AS d
   SET code_reference = r.reference
  FROM unnest(%(names)s::text[], %(references)s::text[]) AS r (name, reference)
 WHERE d.name = r.name AND d.code_reference LIKE 'tickstockpl.workers.%%' AND d.code_reference <> r.reference;

-- correct_indicator_references --
UPDATE indicator_definitions AS d
   SET code_reference = r.reference
  FROM unnest(%(names)s::text[], %(references)s::text[]) AS r (name, reference)
 WHERE d.name = r.name AND d.code_reference LIKE 'tickstockpl.workers.%%' AND d.code_reference <> r.reference;

-- run_patterns_live --
-- Enable these timeframes, in addition to those of a row. A row without timeframes is for all of them.
UPDATE pattern_definitions
   SET enabled = true,
       applicable_timeframes = applicable_timeframes
           || ARRAY(SELECT t FROM unnest(%(timeframes)s::text[]) AS t WHERE t <> ALL (applicable_timeframes))
 WHERE name = ANY (%(names)s)
   AND NOT (enabled AND (applicable_timeframes IS NULL OR applicable_timeframes @> %(timeframes)s::text[]))
RETURNING name;

-- run_indicators_live --
UPDATE indicator_definitions
   SET enabled = true,
       applicable_timeframes = applicable_timeframes
           || ARRAY(SELECT t FROM unnest(%(timeframes)s::text[]) AS t WHERE t <> ALL (applicable_timeframes))
 WHERE name = ANY (%(names)s)
   AND NOT (enabled AND (applicable_timeframes IS NULL OR applicable_timeframes @> %(timeframes)s::text[]))
RETURNING name;

-- let_dojis_stand_anywhere --
-- For the demo, on servers of its own: a market of a few seconds has no trend that a Doji could end.
UPDATE pattern_definitions SET parameters = coalesce(parameters, '{}') || '{"min_move": 0}' WHERE name = 'Doji';

-- definitions_exist --
SELECT to_regclass('pattern_definitions') IS NOT NULL AND to_regclass('indicator_definitions') IS NOT NULL;
