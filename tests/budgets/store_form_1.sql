-- A store of the first form, with something in each of its tables but `taken` and `unreported`.
PRAGMA application_id = 1128680535;
PRAGMA user_version = 1;
CREATE TABLE log (
    number INTEGER PRIMARY KEY,
    event_id NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL
);
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name NOT NULL,
    spent INTEGER NOT NULL DEFAULT 0 CHECK (typeof(spent) = 'integer'),
    UNIQUE (kind, name)
);
CREATE TABLE sums (
    scope_id INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    nanodollars INTEGER NOT NULL CHECK (typeof(nanodollars) = 'integer'),
    PRIMARY KEY (scope_id, quarter)
) WITHOUT ROWID;
CREATE TABLE taken (
    scope_id INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    nanodollars INTEGER NOT NULL CHECK (typeof(nanodollars) = 'integer'),
    PRIMARY KEY (scope_id, quarter)
) WITHOUT ROWID;
CREATE TABLE limits (
    scope_id INTEGER NOT NULL,
    period TEXT NOT NULL,
    nanodollars INTEGER,
    PRIMARY KEY (scope_id, period)
) WITHOUT ROWID;
CREATE TABLE grants (
    scope_id INTEGER PRIMARY KEY,
    up_to INTEGER NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE unreported (
    scope_id INTEGER PRIMARY KEY,
    nanodollars INTEGER NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE holds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id NOT NULL,
    at INTEGER NOT NULL,
    spender TEXT NOT NULL,
    model NOT NULL,
    nanodollars INTEGER NOT NULL
);
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    rows INTEGER NOT NULL,
    hash BLOB NOT NULL,
    key_fingerprint BLOB NOT NULL,
    summed_rows INTEGER NOT NULL,
    summed_global INTEGER NOT NULL
);
CREATE INDEX log_at ON log (at);
CREATE INDEX holds_request ON holds (request_id);
INSERT INTO log VALUES (1, 'e1', 1772366820000000, '{"at":"2026-03-01T12:07:00.000000+00:00","charge":{"confirmed":true,"model":"openai:gpt-5-mini","nanodollars":10,"role":"direct"},"event_id":"e1","kind":"usage","logged_at":"2026-03-01T12:07:01.000000+00:00","request_id":"r1","spender":{"user_id":"ann"}}', X'055199df68db2b96691e9be934778ff5c20611c17dd1b82fec1466b61f1384e2');
INSERT INTO log VALUES (2, 'e2', 1772366820000000, '{"at":"2026-03-01T12:07:00.000000+00:00","charge":{"confirmed":true,"model":"openai:gpt-5-mini","nanodollars":20,"role":"direct"},"event_id":"e2","kind":"usage","logged_at":"2026-03-01T12:07:01.000000+00:00","request_id":"r2","spender":{"user_id":"ann"}}', X'f1fa7900b24d2e603814d5aaeac6671d08163ba8790356615965aa32d7906f74');
INSERT INTO log VALUES (3, 'manual-d2510cb9156a3f59a942c3642f2ddea4', 1772366820000000, '{"actor":"eve","at":"2026-03-01T12:07:00.000000+00:00","event_id":"manual-d2510cb9156a3f59a942c3642f2ddea4","kind":"limit","nanodollars":1000,"period":"day","reason":"asked","scope":["user","ann"]}', X'4bea2f0f91082a3771990aaba111fffa860d9caf27e4e08db1d9c316902c54bd');
INSERT INTO scopes VALUES (1, 'global', '', 30);
INSERT INTO scopes VALUES (2, 'user', 'ann', 30);
INSERT INTO scopes VALUES (3, 'model', 'openai:gpt-5-mini', 30);
INSERT INTO sums VALUES (1, 1969296, 30);
INSERT INTO sums VALUES (2, 1969296, 30);
INSERT INTO sums VALUES (3, 1969296, 30);
INSERT INTO limits VALUES (2, 'day', 1000);
INSERT INTO grants VALUES (2, 130, 1772366820000000);
INSERT INTO holds VALUES (1, 'r9', 1772366820000000, '{"user_id":"bob"}', 'm', 40);
INSERT INTO state VALUES (1, 3, X'4bea2f0f91082a3771990aaba111fffa860d9caf27e4e08db1d9c316902c54bd', X'', 3, 30);
CREATE TRIGGER log_is_never_changed BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END;
CREATE TRIGGER log_is_never_cut BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END;
CREATE TRIGGER log_is_never_replaced BEFORE INSERT ON log
WHEN NEW.number <= (SELECT MAX(number) FROM log)
    OR EXISTS (SELECT 1 FROM log WHERE event_id = NEW.event_id)
BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END;
