ALTER TABLE mail_codes DROP COLUMN proved;
