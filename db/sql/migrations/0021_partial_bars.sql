-- A live bar of a minute that lies in a gap is partial: each commit of live bars asks for the gaps of its minutes.
CREATE INDEX gap_last_minute ON gap (last_minute);
