-- pattern_definitions --
-- Numbers and JSON as text: what no float8 or driver can hold is wrong in its own row, and not in all of them.
SELECT name, confidence_threshold::text, applicable_timeframes, parameters::text
  FROM pattern_definitions WHERE enabled ORDER BY display_order, name;

-- indicator_definitions --
SELECT name, period, applicable_timeframes, parameters::text
  FROM indicator_definitions WHERE enabled ORDER BY display_order, name;

-- seed_pattern_definitions --
-- A row that is there already, the application's or an edited one, stays as it is.
INSERT INTO pattern_definitions (name, short_description, code_reference, category, enabled, display_order,
                                 confidence_threshold, applicable_timeframes, parameters)
SELECT name, description, code, 'pattern', enabled, place, threshold, string_to_array(timeframes, ','), parameters::jsonb
  FROM unnest(%(name)s::text[], %(description)s::text[], %(code)s::text[], %(enabled)s::bool[], %(place)s::int[],
              %(threshold)s::float8[], %(timeframes)s::text[], %(parameters)s::text[])
       AS seed (name, description, code, enabled, place, threshold, timeframes, parameters)
ON CONFLICT (name) DO NOTHING;

-- seed_indicator_definitions --
INSERT INTO indicator_definitions (name, short_description, code_reference, category, enabled, display_order, period,
                                   applicable_timeframes, parameters)
SELECT name, description, code, 'indicator', enabled, place, period, string_to_array(timeframes, ','), '{}'
  FROM unnest(%(name)s::text[], %(description)s::text[], %(code)s::text[], %(enabled)s::bool[], %(place)s::int[],
              %(period)s::int[], %(timeframes)s::text[])
       AS seed (name, description, code, enabled, place, period, timeframes)
ON CONFLICT (name) DO NOTHING;

-- seeded_definitions --
SELECT (SELECT array_agg(name::text) FROM pattern_definitions), (SELECT array_agg(name::text) FROM indicator_definitions);
