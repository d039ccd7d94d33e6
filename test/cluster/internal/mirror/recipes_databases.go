package mirror

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/w3evolutionsllc/conductor/test/cluster/image"
)

// databaseRecipes are databases, and further names of images that the mirror has. The version is always Debian's, regardless of
// the tag.
func databaseRecipes() ([]layer, []recipe) {
	layers := []layer{shell, libraries, bash, redis, databaseLibraries, postgres, mariadb}
	older := redisImage
	older.Names = []string{"library/redis:3.0", "library/redis:8", "redislabs/redismod:latest"}
	images := []recipe{
		postgresImage("/var/lib/postgresql/data", "library/postgres:latest", "library/postgres:alpine", "library/postgres:12-alpine",
			"library/postgres:15", "library/postgres:15-alpine", "library/postgres:16", "library/postgres:16-alpine", "library/postgres:17"),
		// Where the official image keeps its data from 18 on.
		postgresImage("/var/lib/postgresql/18/docker", "library/postgres:18"),
		mariadbImage, older,
	}
	return layers, images
}

// databaseLibraries are loaded by both databases.
var databaseLibraries = layer{
	Name: "database-libraries",
	Debs: []string{"libpq5", "libicu72", "libxml2", "libxslt1.1", "libldap-2.5-0", "libsasl2-2", "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0",
		"libcom-err2", "libkeyutils1", "libpam0g", "libaudit1", "libselinux1", "libpcre2-8-0", "libuuid1", "liblz4-1", "liblzma5", "libzstd1", "libsystemd0",
		"libcap2", "libgcrypt20", "libgpg-error0", "libcap-ng0", "libreadline8", "libtinfo6", "libncurses6", "libedit2", "libbsd0", "libmd0", "libgnutls30", "libp11-kit0",
		"libidn2-0", "libunistring2", "libtasn1-6", "libnettle8", "libhogweed6", "libgmp10", "libffi8", "libaio1", "libnuma1", "liburing2", "util-linux"},
	Keep: []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/bin/setpriv"},
}

var postgres = layer{
	Name: "postgres",
	Debs: []string{"postgresql-15", "postgresql-client-15", "tzdata"},
	// The compiler of queries needs a whole LLVM.
	Drop: []string{"usr/lib/postgresql/15/lib/llvmjit.so", "usr/lib/postgresql/15/lib/bitcode"},
	Keep: []string{"usr/lib/postgresql/15", "usr/share/postgresql/15", "usr/share/zoneinfo"},
	Files: []file{
		{Path: "usr/local/bin/docker-entrypoint.sh", From: "postgres-entrypoint.sh", Mode: 0o755},
		{Path: "etc/passwd", From: "passwd-postgres", Mode: 0o644}, {Path: "etc/group", From: "group-postgres", Mode: 0o644},
	},
	Dirs:   map[string]uint32{"var/lib/postgresql": 0o755, "var/lib/postgresql/data": 0o777, "run/postgresql": 0o1777, "docker-entrypoint-initdb.d": 0o755},
	Owners: map[string]image.Owner{"var/lib/postgresql": {UID: 999, GID: 999}, "run/postgresql": {UID: 999, GID: 999}},
}

func postgresImage(data string, names ...string) recipe {
	return recipe{Names: names, Layers: []string{"shell", "libraries", "database-libraries", "bash", "postgres"}, Config: v1.Config{
		Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"postgres"}, StopSignal: "SIGINT",
		Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin", "PGDATA=" + data, "LANG=C.UTF-8"},
		ExposedPorts: ports("5432/tcp"), Volumes: ports(data),
	}}
}

var mariadb = layer{
	Name: "mariadb",
	Debs: []string{"mariadb-server-core", "mariadb-client-core", "mariadb-client", "libmariadb3"},
	Keep: []string{"usr/sbin/mariadbd", "usr/bin/mariadb", "usr/bin/mariadb-admin", "usr/share/mysql", "usr/lib/x86_64-linux-gnu"},
	Files: []file{
		{Path: "usr/local/bin/docker-entrypoint.sh", From: "mariadb-entrypoint.sh", Mode: 0o755},
		{Path: "etc/passwd", From: "passwd-mysql", Mode: 0o644}, {Path: "etc/group", From: "group-mysql", Mode: 0o644},
	},
	Links:  map[string]string{"usr/sbin/mysqld": "mariadbd", "usr/bin/mysql": "mariadb", "usr/bin/mysqladmin": "mariadb-admin"},
	Dirs:   map[string]uint32{"var/lib/mysql": 0o777, "run/mysqld": 0o1777, "docker-entrypoint-initdb.d": 0o755},
	Owners: map[string]image.Owner{"var/lib/mysql": {UID: 999, GID: 999}, "run/mysqld": {UID: 999, GID: 999}},
}

var mariadbImage = recipe{
	Names:  []string{"library/mariadb:latest", "library/mariadb:10-focal", "library/mariadb:10.6.4-focal"},
	Layers: []string{"shell", "libraries", "database-libraries", "bash", "mariadb"},
	Config: v1.Config{
		Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"mariadbd"}, Env: []string{path},
		ExposedPorts: ports("3306/tcp"), Volumes: ports("/var/lib/mysql"),
	},
}
