-- The ID token of the identity provider, sealed, which ends the session there.
ALTER TABLE sessions ADD COLUMN provider_token BYTEA;
