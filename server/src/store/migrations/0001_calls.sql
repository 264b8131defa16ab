-- One row a call, from the moment it exists. Times are ms since 1970, UTC. `record` is the JSON that the API shows;
-- the columns beside it are what calls are looked for by. Ids are UUIDs of version 7: their order is that of time.
CREATE TABLE calls (
    id TEXT NOT NULL PRIMARY KEY,
    carrier TEXT NOT NULL,
    call_sid TEXT NOT NULL,
    direction TEXT NOT NULL,
    caller TEXT NOT NULL,
    called TEXT NOT NULL,
    agent TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    answered_ms BIGINT,
    -- NULL: it is going on, or was when the process died.
    ended_ms BIGINT,
    ended_reason TEXT,
    ended_by TEXT,
    record TEXT NOT NULL
);

CREATE INDEX calls_live ON calls (id) WHERE ended_ms IS NULL;
CREATE INDEX calls_by_agent ON calls (agent, id);
CREATE INDEX calls_by_caller ON calls (caller, id);
CREATE INDEX calls_by_called ON calls (called, id);

-- Requests that place a call and may come twice (Idempotency-Key), and how they were answered.
CREATE TABLE placed_once (
    key TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of what was asked for, in hexadecimal.
    request TEXT NOT NULL,
    call_id TEXT NOT NULL,
    answer TEXT NOT NULL,
    made_ms BIGINT NOT NULL
);

CREATE INDEX placed_once_by_age ON placed_once (made_ms);
