DROP TABLE former_links;
DROP TABLE consents;
