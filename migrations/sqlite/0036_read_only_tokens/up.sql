-- Whether a SCIM token may read only.
ALTER TABLE scim_tokens ADD COLUMN read_only BOOLEAN NOT NULL DEFAULT FALSE;
