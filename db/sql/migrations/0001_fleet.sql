-- The stream's shape, and who owns what. Every time here is the database's own clock.

CREATE TABLE stream (
    name        text PRIMARY KEY,
    partitions  integer NOT NULL CHECK (partitions BETWEEN 1 AND 4096),
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- units: partition:N, front-door, replay, consumer:NAME, producer:NAME
CREATE TABLE lease (
    unit           text PRIMARY KEY,
    owner          text,
    epoch          bigint NOT NULL DEFAULT 0,
    expires_at     timestamptz NOT NULL DEFAULT '-infinity',
    renewed_at     timestamptz,
    backend_pid    integer,
    backend_start  timestamptz,
    idle_since     timestamptz,  -- the former owner's last renewal, or its release
    pause_s        double precision  -- of the last move: from the former owner's last sign of life to the first read of the new one
);

CREATE TABLE worker (
    consumer       text PRIMARY KEY,
    host           text NOT NULL,
    pid            integer NOT NULL,
    started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ticks          bigint NOT NULL DEFAULT 0,
    repeats        bigint NOT NULL DEFAULT 0,
    bars           bigint NOT NULL DEFAULT 0,
    revisions      bigint NOT NULL DEFAULT 0,
    commits        bigint NOT NULL DEFAULT 0,
    fenced         bigint NOT NULL DEFAULT 0,
    restores       bigint NOT NULL DEFAULT 0
);
