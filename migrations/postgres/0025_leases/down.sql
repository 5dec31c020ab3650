DROP INDEX links_last_login;
