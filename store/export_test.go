package store

import "io/fs"

// UseMigrations replaces the program's migrations, as a later version of it would have others.
func UseMigrations(s *Store, migrations fs.FS) { s.migrations = migrations }

// SplitCommits makes all Stores split batches of more points than that, until restore is called.
func SplitCommits(points int) (restore func()) {
	p, s := postgresDialect.commitPoints, sqliteDialect.commitPoints
	postgresDialect.commitPoints, sqliteDialect.commitPoints = points, points
	return func() { postgresDialect.commitPoints, sqliteDialect.commitPoints = p, s }
}

// SplitMarks makes all Stores mark no more windows at once than that, until restore is called.
func SplitMarks(windows int) (restore func()) {
	was := markWindows
	markWindows = windows
	return func() { markWindows = was }
}
