DROP TABLE past_links;
