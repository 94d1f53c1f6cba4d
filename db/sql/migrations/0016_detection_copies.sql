-- Tables of the application's pages that hold detections once more: pattern_detections (all of them) and hourly_patterns.
-- They are its own. What goes wrong with them is returned as a sentence; it never stops a commit.

-- detections: rows as insert_detections has them.
CREATE FUNCTION copy_detections(detections jsonb, lifetime_s float8) RETURNS text LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    longest int;
    hourly jsonb;
    wrong text;
BEGIN
    BEGIN
        IF to_regclass('pattern_detections') IS NOT NULL THEN
            longest := (SELECT CASE WHEN atttypmod > 4 THEN atttypmod - 4 ELSE 255 END FROM pg_attribute
                         WHERE attrelid = to_regclass('pattern_detections') AND attname = 'symbol');
            INSERT INTO pattern_detections (pattern_id, symbol, detected_at, confidence, price_at_detection,
                                            volume_at_detection, pattern_data)
            SELECT d.id, f.symbol, to_timestamp(f.at) AT TIME ZONE 'UTC', f.confidence,
                   CASE WHEN f.close < 1e6 THEN f.close END, CASE WHEN f.volume < 9e18 THEN f.volume END,
                   f.pattern_data || jsonb_build_object('flow_id', f.flow_id, 'timeframe', f.timeframe)
              FROM (SELECT r.*, (r.pattern_data #>> '{bar,close}')::numeric AS close,
                           (r.pattern_data #>> '{bar,volume}')::numeric AS volume
                      FROM jsonb_to_recordset(detections)
                        AS r (flow_id uuid, symbol text, pattern text, confidence numeric, pattern_data jsonb, at float8,
                              timeframe text)) AS f
              JOIN pattern_definitions d ON d.name = f.pattern
             WHERE length(f.symbol) <= longest;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        wrong := concat_ws('; ', wrong, 'detections are not copied into pattern_detections: ' || SQLERRM);
    END;
    BEGIN
        hourly := (SELECT jsonb_agg(jsonb_build_object(
                              'symbol', f.symbol, 'pattern_type', f.pattern, 'confidence', f.confidence,
                              'pattern_data', f.pattern_data, 'detection_timestamp', to_timestamp(f.at),
                              'expiration_timestamp', to_timestamp(f.at) + make_interval(secs => lifetime_s),
                              'levels', f.levels, 'metadata', f.metadata, 'timeframe', f.timeframe))
                     FROM jsonb_to_recordset(detections)
                       AS f (symbol text, pattern text, confidence numeric, pattern_data jsonb, at float8, levels jsonb,
                             metadata jsonb, timeframe text)
                    WHERE f.timeframe = 'hourly');
        IF hourly IS NOT NULL AND to_regclass('hourly_patterns') IS NOT NULL THEN
            PERFORM insert_known_columns('hourly_patterns', hourly);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        wrong := concat_ws('; ', wrong, 'detections are not copied into hourly_patterns: ' || SQLERRM);
    END;
    RETURN wrong;
END $$;

-- Of detections that a revision took away or changed.
CREATE FUNCTION remove_detection_copies(flow_ids uuid[]) RETURNS text LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    wrong text;
BEGIN
    BEGIN
        IF to_regclass('pattern_detections') IS NOT NULL THEN
            DELETE FROM pattern_detections d USING detection_flow f
             WHERE f.flow_id = ANY (flow_ids) AND d.symbol = f.symbol
               AND d.detected_at = to_timestamp((f.minute + f.timeframe) * 60::float8) AT TIME ZONE 'UTC'
               AND d.pattern_data ->> 'flow_id' = f.flow_id::text;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        wrong := concat_ws('; ', wrong, 'detections are not taken out of pattern_detections: ' || SQLERRM);
    END;
    BEGIN
        IF to_regclass('hourly_patterns') IS NOT NULL THEN
            DELETE FROM hourly_patterns p USING detection_flow f
             WHERE f.flow_id = ANY (flow_ids) AND f.timeframe = 60 AND p.symbol = f.symbol AND p.pattern_type = f.pattern
               AND p.detection_timestamp = to_timestamp((f.minute + 60) * 60::float8);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        wrong := concat_ws('; ', wrong, 'detections are not taken out of hourly_patterns: ' || SQLERRM);
    END;
    RETURN wrong;
END $$;
