-- Who has not come through an identity provider for how long.
CREATE INDEX links_last_login ON links (identity_provider, last_login, issuer, subject);
