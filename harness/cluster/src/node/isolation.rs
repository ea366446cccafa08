//! How far a container is kept apart from the machine, and the command lines that do it.
//!
//! Where mount namespaces can be made (as root, or as anybody where user namespaces are allowed) a container gets a root
//! folder of its own with its volumes at their mount paths. Elsewhere mount paths are rewritten in commands and
//! environments. Either way pods have loopback addresses of their own; there is no network namespace, so that host and
//! pods reach each other without privileges.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the tools of util-linux are.
const FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/// Exit code of a start whose mounts failed; the reason is in the file that the script is given.
pub(crate) const SETUP_FAILED: i32 = 125;
/// Mounts all of a table, names the machine after the pod, and becomes the program.
/// Arguments: mount, table, file for errors, host name, program…
const SCRIPT: &str = r#""$1" --all --fstab "$2" 2>"$3" || exit 125
{ printf '%s' "$4" > /proc/sys/kernel/hostname; } 2>/dev/null
shift 4
exec "$@""#;

/// What keeps containers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// Mount namespaces.
    Mounts(Tools),
    /// Nothing but folders and rewritten paths.
    Folders {
        /// Why there is no more.
        why: String,
    },
}

/// Programs that make namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    unshare: PathBuf,
    nsenter: PathBuf,
    mount: PathBuf,
    /// Gives processes root's group only, whatever groups this program's user is in.
    setpriv: Option<PathBuf>,
    /// Whether a user namespace is needed, because this is not root.
    is_user: bool,
}

impl fmt::Display for Isolation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounts(tools) if tools.is_user => {
                formatter.write_str("user and mount namespaces, loopback addresses")
            }
            Self::Mounts(_) => formatter.write_str("mount namespaces, loopback addresses"),
            Self::Folders { why } => write!(formatter, "loopback addresses, rewritten paths ({why})"),
        }
    }
}

impl Isolation {
    /// Tries what this machine allows; `scratch` is an empty folder for the attempt.
    pub(crate) fn detect(scratch: &Path) -> Self {
        let tool =
            |name: &str| FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
        let (Some(unshare), Some(nsenter), Some(mount)) = (tool("unshare"), tool("nsenter"), tool("mount"))
        else {
            return Self::Folders {
                why: "util-linux with unshare, nsenter and mount is not installed".into(),
            };
        };
        let is_user = !rustix::process::geteuid().is_root();
        let mut last = String::new();
        // Root without the right to mount may still make a user namespace.
        let setpriv = tool("setpriv");
        let mut attempts = vec![(None, true)];
        if !is_user {
            attempts.insert(0, (None, false));
            if setpriv.is_some() {
                attempts.insert(0, (setpriv, false));
            }
        }
        for (setpriv, is_user) in attempts {
            let tools = Tools {
                unshare: unshare.clone(),
                nsenter: nsenter.clone(),
                mount: mount.clone(),
                setpriv,
                is_user,
            };
            match attempt(&tools, scratch) {
                Ok(()) => return Self::Mounts(tools),
                Err(why) => last = why,
            }
        }
        Self::Folders { why: last }
    }

    /// Whether containers have a root folder of their own.
    #[must_use]
    pub fn has_mounts(&self) -> bool {
        matches!(self, Self::Mounts(_))
    }
}

impl Tools {
    /// The begin of a command line whose process has the groups of a container: root's.
    fn groups(&self) -> Vec<String> {
        let setpriv = self.setpriv.iter();
        setpriv.flat_map(|setpriv| [text(setpriv), "--groups=0".into(), "--".into()]).collect()
    }
}

/// A start in namespaces of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enclosure {
    pub(crate) tools: Tools,
    /// The root folder.
    pub(crate) root: PathBuf,
    /// What is mounted there, as an `fstab`.
    pub(crate) table: PathBuf,
    /// Where the reason is if that fails.
    pub(crate) errors: PathBuf,
    /// Name of the machine as the container sees it.
    pub(crate) host_name: String,
}

impl Enclosure {
    /// The command line that mounts and then becomes `argv`, working in `directory` below the root.
    pub(crate) fn wrap(&self, argv: &[String], directory: &Path) -> Vec<String> {
        let tools = &self.tools;
        let mut line = tools.groups();
        line.extend([text(&tools.unshare), "--mount".into(), "--uts".into()]);
        if tools.is_user {
            line.extend(["--user".into(), "--map-root-user".into()]);
        }
        line.extend(["--".into(), "/bin/sh".into(), "-c".into(), SCRIPT.into(), "sh".into()]);
        line.extend([text(&tools.mount), text(&self.table), text(&self.errors), self.host_name.clone()]);
        line.push(text(&tools.unshare));
        line.push(format!("--root={}", self.root.display()));
        line.push(format!("--wd={}", directory.display()));
        line.push("--".into());
        line.extend_from_slice(argv);
        line
    }

    /// The command line that runs `argv` beside a process that was started so.
    pub(crate) fn join(&self, process: i32, argv: &[String], directory: &Path) -> Vec<String> {
        let mut line = self.tools.groups();
        line.extend([text(&self.tools.nsenter), format!("--target={process}")]);
        if self.tools.is_user {
            line.extend(["--user".into(), "--preserve-credentials".into()]);
        }
        line.extend(["--mount".into(), "--uts".into(), "--root".into()]);
        line.push(format!("--wdns={}", directory.display()));
        line.push("--".into());
        line.extend_from_slice(argv);
        line
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Makes a read-only mount in a root folder and looks at it.
fn attempt(tools: &Tools, scratch: &Path) -> Result<(), String> {
    let at_fault = |error: std::io::Error| error.to_string();
    let (root, source) = (scratch.join("root"), scratch.join("source"));
    fs::create_dir_all(root.join("usr")).map_err(at_fault)?;
    fs::create_dir_all(root.join("v")).map_err(at_fault)?;
    fs::create_dir_all(&source).map_err(at_fault)?;
    fs::write(source.join("mark"), "").map_err(at_fault)?;
    let table = scratch.join("fstab");
    let mut lines = String::new();
    for (from, to, options) in super::rootfs::host_folders(&root) {
        lines += &super::rootfs::line(&from, &to, &options);
    }
    lines += &super::rootfs::line(&source, &root.join("v"), "bind,ro");
    fs::write(&table, lines).map_err(at_fault)?;
    let enclosure = Enclosure {
        tools: tools.clone(),
        root,
        table,
        errors: scratch.join("errors"),
        host_name: "probe".into(),
    };
    let argv =
        ["/bin/sh", "-c", "test -e /v/mark && ! touch /v/mark 2>/dev/null && exit 7"].map(str::to_owned);
    let line = enclosure.wrap(&argv, Path::new("/"));
    let output = Command::new(&line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(at_fault)?;
    if output.status.code() == Some(7) {
        return Ok(());
    }
    let mut why = fs::read_to_string(&enclosure.errors).unwrap_or_default();
    why += &String::from_utf8_lossy(&output.stderr);
    let first = why.lines().next().unwrap_or("a read-only mount could be written to").to_owned();
    Err(format!("namespaces are not allowed here: {first}"))
}
