-- The application's table of universes, where the application is not there: its shape, as far as we read and write it.
CREATE TABLE IF NOT EXISTS cache_entries (
    id           serial PRIMARY KEY,
    type         varchar(100) NOT NULL,
    name         varchar(100) NOT NULL,
    key          varchar(100) NOT NULL,
    value        jsonb NOT NULL,
    environment  varchar(50) NOT NULL DEFAULT 'DEFAULT',
    created_at   timestamp DEFAULT CURRENT_TIMESTAMP,  -- as the application has it, without a zone
    updated_at   timestamp DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (type, name, key, environment)
);
