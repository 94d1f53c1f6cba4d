#!/bin/sh
# Run once by the image, on an empty volume: the fleet's role owns its database and is no superuser.
set -eu
test -s /run/secrets/database_password
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\set password `cat /run/secrets/database_password`
CREATE ROLE app_readwrite LOGIN PASSWORD :'password';
ALTER DATABASE :"DBNAME" OWNER TO app_readwrite;
ALTER SCHEMA public OWNER TO app_readwrite;
SQL
