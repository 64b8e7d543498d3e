-- The journal of several hosts. docs/hosts.md says why it looks like this.

-- Where the fold order ends, and who may go on with it: one row.
CREATE TABLE head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    term bigint NOT NULL DEFAULT 0,
    leader text NOT NULL DEFAULT '',
    position bigint NOT NULL DEFAULT 0,
    partitioned_until bigint NOT NULL DEFAULT 0,
    draw_secret bytea NOT NULL
);
INSERT INTO head (draw_secret) VALUES (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- Every record under its natural key, from its commit on; `record` leaves for the journal when it gets its position.
CREATE SEQUENCE arrivals;
CREATE TABLE keys (
    episode bytea NOT NULL,
    inside bytea NOT NULL,
    body smallint NOT NULL,
    policy text,
    arrival bigint NOT NULL DEFAULT nextval('arrivals'),
    position bigint,
    record bytea,
    PRIMARY KEY (episode, inside),
    CHECK ((position IS NULL) = (record IS NOT NULL))
) PARTITION BY HASH (episode);
DO $$
BEGIN
    FOR i IN 0..7 LOOP
        EXECUTE format('CREATE TABLE keys_%s PARTITION OF keys FOR VALUES WITH (MODULUS 8, REMAINDER %s)', i, i);
    END LOOP;
END
$$;
CREATE INDEX keys_that_wait ON keys (arrival) WHERE position IS NULL;

-- The records in fold order. Partitions are made by the leader, a range of positions each.
CREATE TABLE journal (
    position bigint NOT NULL,
    episode bytea NOT NULL,
    inside bytea NOT NULL,
    body smallint NOT NULL,
    opens text,
    record bytea NOT NULL,
    PRIMARY KEY (position, episode)
) PARTITION BY RANGE (position);
CREATE INDEX journal_that_teaches ON journal (position) WHERE body > 2;
CREATE INDEX journal_that_rules ON journal (position) WHERE body > 4;
CREATE INDEX journal_that_opens ON journal (opens, position) WHERE opens IS NOT NULL;

-- Policies at a position, by the term of the learner that stored them.
CREATE TABLE snapshots (
    policy text NOT NULL,
    position bigint NOT NULL,
    term bigint NOT NULL,
    created_at_ms bigint NOT NULL,
    snapshot bytea NOT NULL,
    PRIMARY KEY (policy, position)
);
