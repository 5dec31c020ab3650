DROP TABLE unknown_password_attempts;
