-- The client that got the token with its own credentials; none of a token that a person made.
ALTER TABLE scim_tokens ADD COLUMN client_id TEXT;
CREATE INDEX scim_tokens_issued ON scim_tokens (expires) WHERE client_id IS NOT NULL;
