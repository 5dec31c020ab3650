DROP TABLE mail_codes;
ALTER TABLE links DROP COLUMN verified_email;
