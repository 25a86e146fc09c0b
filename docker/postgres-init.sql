-- Runs once, as superuser, when the database volume is empty: three roles.
--
-- medr1_owner  owns the research tables, in schema public: migrations run as it
-- medr1        uses them, and can add to the audit log and not change it: the service
-- medr1_vault  the identities, in schema vault, which the others cannot read
--
-- The passwords come from the environment of the container; an unset one ends this script, and with
-- it the start.
\set ON_ERROR_STOP on
\getenv owner_password OWNER_DB_PASSWORD
\getenv research_password RESEARCH_DB_PASSWORD
\getenv vault_password VAULT_DB_PASSWORD

CREATE ROLE medr1_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE medr1 LOGIN PASSWORD :'research_password';
CREATE ROLE medr1_vault LOGIN PASSWORD :'vault_password';

REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO medr1_owner, medr1, medr1_vault;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO medr1_owner;
GRANT USAGE ON SCHEMA public TO medr1;

CREATE SCHEMA vault AUTHORIZATION medr1_vault;
-- So that MEDR1_VAULT_URL has to name the role and the database only.
ALTER ROLE medr1_vault SET search_path = vault;
-- `medr1-pacs db upgrade` says CREATE SCHEMA IF NOT EXISTS vault, and PostgreSQL asks for this right
-- before it looks whether the schema exists.
GRANT CREATE ON DATABASE :"DBNAME" TO medr1_vault;
-- `medr1-pacs db grant-research` makes a schema for each project's view.
GRANT CREATE ON DATABASE :"DBNAME" TO medr1_owner;
