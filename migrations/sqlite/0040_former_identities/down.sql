DELETE FROM former_links WHERE resource_id IS NOT NULL AND NOT needs_proof;
ALTER TABLE former_links DROP COLUMN needs_proof;
