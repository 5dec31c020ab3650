DROP TABLE logouts;
DROP TABLE session_clients;
