-- The fingerprint of the address that the person last proved to be theirs, by a code that went there.
ALTER TABLE mail_codes ADD COLUMN proved TEXT;
