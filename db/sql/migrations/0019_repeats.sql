-- Which detections are not told because the same was found shortly before: of those that stand, what a worker needs to know.
ALTER TABLE detection_flow ADD COLUMN is_repeat boolean NOT NULL DEFAULT false;
