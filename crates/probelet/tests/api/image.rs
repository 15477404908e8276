//! Images for tests, made of what the host has, and a registry for them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Who may pull, and push.
pub(crate) const USER: &str = "jane";
pub(crate) const PASSWORD: &str = "pass:word";

/// `layer NAME` packs what is in the directory of that name; `image TAG CONFIG LAYER...` writes an archive of the
/// layers, as `docker save` makes it. `put_busybox DIR` puts the host's static busybox there, and names for its programs.
const SHELL: &str = r#"
    set -eu
    put_busybox() {
        mkdir -p "$1/bin" "$1/tmp" "$1/etc" "$1/www"
        chmod 1777 "$1/tmp"
        cp "$(command -v busybox)" "$1/bin/busybox"
        for name in $(busybox --list); do
            [ "$name" = busybox ] || ln -sf busybox "$1/bin/$name"
        done
        echo 'root:x:0:0:root:/:/bin/sh' > "$1/etc/passwd"
    }
    layer() {
        tar --numeric-owner --owner=0 --group=0 -cf "$1.tar" -C "$1" .
    }
    image() {
        tag=$1 config=$2 digests= files=
        shift 2
        for name; do
            digest=$(sha256sum "$name.tar" | cut -d' ' -f1)
            digests=$digests${digests:+,}'"sha256:'$digest'"'
            files=$files${files:+,}'"'$name.tar'"'
        done
        echo '{"architecture":"'"$ARCH"'","os":"linux","config":'"$config"',"rootfs":{"type":"layers","diff_ids":['"$digests"']}}' > config.json
        echo '[{"Config":"config.json","RepoTags":["'"$tag"'"],"Layers":['"$files"']}]' > manifest.json
        tar -cf "$ARCHIVE" manifest.json config.json *.tar
    }
"#;

/// `probelet.test/busybox:1`: the host's static busybox alone.
pub(crate) fn busybox(archive: &Path) {
    busybox_as(archive, "probelet.test/busybox:1");
}

/// The same by another name.
pub(crate) fn busybox_as(archive: &Path, name: &str) {
    let script = r#"
        put_busybox root
        layer root
        image NAME '{"Cmd":["sh"],"Env":["PATH=/bin"],"WorkingDir":"/www"}' root
        "#;
    make(archive, &script.replace("NAME", name));
}

/// `probelet.test/nginx:1`: Debian's nginx with its page, what it writes to, and the libraries that it is linked
/// with. It answers at port 80, and at `/healthz`.
pub(crate) fn nginx(archive: &Path) {
    make(
        archive,
        r#"
        nginx=$(PATH=$PATH:/usr/sbin command -v nginx)
        mkdir -p libraries/usr/sbin root/etc/nginx root/var/lib/nginx root/var/log/nginx root/run root/usr/share/nginx
        for file in $(ldd "$nginx" | grep -o '/[^ ]*'); do
            mkdir -p "libraries$(dirname "$file")"
            cp -L "$file" "libraries$file"
        done
        layer libraries
        mkdir -p root/usr/sbin
        cp "$nginx" root/usr/sbin/nginx
        cp -r /usr/share/nginx/html root/usr/share/nginx/html
        cp /etc/nginx/mime.types root/etc/nginx/
        printf '%s\n' 'root:x:0:0:root:/:/' 'www-data:x:33:33:www-data:/var/www:/' > root/etc/passwd
        printf '%s\n' 'root:x:0:' 'www-data:x:33:' > root/etc/group
        cat > root/etc/nginx/nginx.conf <<'CONF'
            user www-data;
            worker_processes 1;
            error_log stderr notice;
            events { worker_connections 64; }
            http {
                include mime.types;
                access_log off;
                server {
                    listen 80;
                    root /usr/share/nginx/html;
                    index index.html index.nginx-debian.html;
                    location = /healthz { return 200 "well\n"; }
                }
            }
CONF
        layer root
        image probelet.test/nginx:1 '{"Entrypoint":["/usr/sbin/nginx"],"Cmd":["-g","daemon off;"],"StopSignal":"SIGQUIT"}' libraries root
        "#,
    );
}

/// `probelet.test/layered:1`: busybox, of four layers. The second hides `/data/old` and all that was in `/data/dir`,
/// and adds `/data/dir/new`; the third takes `/data/gone` away, which was a directory; the fourth makes a file of it,
/// and a hard link.
pub(crate) fn layered(archive: &Path) {
    make(
        archive,
        r#"
        put_busybox first
        mkdir -p first/data/dir/deep first/data/gone
        echo 1 > first/data/old
        echo 1 > first/data/kept
        echo 1 > first/data/dir/deep/file
        echo 1 > first/data/gone/file
        layer first
        mkdir -p second/data/dir
        touch second/data/.wh.old second/data/dir/.wh..wh..opq
        echo 2 > second/data/dir/new
        layer second
        mkdir -p third/data
        touch third/data/.wh.gone
        layer third
        mkdir -p fourth/data
        echo 4 > fourth/data/gone
        ln fourth/data/gone fourth/data/link
        layer fourth
        image probelet.test/layered:1 '{"Entrypoint":["/bin/sh","-c"],"Cmd":["exec httpd -f -p 8080 -h /data"],"Env":["PATH=/bin","LAYERS=4"]}' first second third fourth
        "#,
    );
}

fn make(archive: &Path, script: &str) {
    let dir = tempfile::tempdir().unwrap();
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{SHELL}{script}")])
        .current_dir(dir.path())
        .env("ARCH", arch)
        .env("ARCHIVE", archive);
    run(&mut command);
}

/// What it prints, if it ends well.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Debian's docker-registry on a port of its own; it lets in [`USER`] alone.
pub(crate) struct Registry {
    process: Child,
    _dir: TempDir,
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let login = run(Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]));
        fs::write(dir.path().join("htpasswd"), login).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let place = dir.path().display();
        let config = format!(
            "{{version: 0.1, log: {{level: error}}, storage: {{filesystem: {{rootdirectory: {place}/data}}}}, \
             http: {{addr: '{host}'}}, auth: {{htpasswd: {{realm: test, path: {place}/htpasswd}}}}}}"
        );
        let path = dir.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut registry = Self {
            process,
            _dir: dir,
            host,
        };
        while TcpStream::connect(&registry.host).is_err() {
            let ended = registry.process.try_wait().unwrap();
            assert!(ended.is_none(), "the registry ended");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        registry
    }

    /// Pushes what is in an archive under a name there, its layers packed by gzip; the whole reference.
    pub(crate) fn push(&self, archive: &Path, name: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/push.py");
        run(Command::new("python3")
            .arg(script)
            .arg(archive)
            .args([&self.host, name, USER, PASSWORD]));
        format!("{}/{name}", self.host)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
