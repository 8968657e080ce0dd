-- State of the desk. Orders are kept; photos too, so that the hub can fetch them whenever it takes the callback.
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS teams (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, generation INTEGER NOT NULL DEFAULT 1, closed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS orders (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, ticket TEXT UNIQUE NOT NULL, key TEXT UNIQUE NOT NULL, digest TEXT NOT NULL,
    team TEXT NOT NULL, state TEXT NOT NULL, open INTEGER NOT NULL, rank INTEGER NOT NULL, due_at REAL,
    created_at REAL NOT NULL, changed_at REAL NOT NULL, version INTEGER NOT NULL DEFAULT 0,
    urged INTEGER NOT NULL DEFAULT 0, urged_note TEXT, trace TEXT, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_of_team ON orders (team, open, rank);
CREATE INDEX IF NOT EXISTS orders_open ON orders (open, changed_at);
CREATE TABLE IF NOT EXISTS log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, ticket TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, note TEXT, event TEXT
);
CREATE INDEX IF NOT EXISTS log_of_order ON log (ticket);
CREATE TABLE IF NOT EXISTS photos (
    id TEXT PRIMARY KEY, ticket TEXT NOT NULL, at REAL NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    sha256 TEXT NOT NULL, event TEXT, content BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS photos_of_order ON photos (ticket);
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, ticket TEXT NOT NULL, case_id TEXT NOT NULL, body BLOB NOT NULL,
    trace TEXT, due_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, status INTEGER, state TEXT NOT NULL DEFAULT 'waiting',
    release_at REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (state, seq);
