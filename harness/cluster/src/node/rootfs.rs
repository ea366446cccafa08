//! The root folder of a container: the machine's (or the image's) own folders with the pod's volumes over them.
//!
//! Nothing is mounted here. Folders in which a mount point is missing are made anew with each of their entries mounted
//! one by one, so that a mount point never appears on the machine itself; the table of mounts is carried out in the
//! container's own mount namespace.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs, io,
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

/// Devices that every container has, as container runtimes give them, and those of accelerators.
const DEVICES: [&str; 10] = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "dri"];
const ACCELERATORS: [&str; 2] = ["nvidia", "kfd"];
/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Folders that an image of its own has beside its files.
const EMPTY: [&str; 5] = ["tmp", "run", "etc", "var/tmp", "root"];

/// A folder or file that a container sees at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Path inside the container.
    pub(crate) at: PathBuf,
    /// Folder or file of this machine.
    pub(crate) source: PathBuf,
    /// Whether the container may not write.
    pub(crate) is_read_only: bool,
}

/// A container's view of files: for looking programs up before it is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    image: PathBuf,
    mounts: Vec<Mount>,
}

/// Makes the root folder and its table of mounts. `image` is the folder of the image's files, `/` for those of this
/// machine.
///
/// # Errors
/// What the system said.
pub(crate) fn make(root: &Path, table: &Path, image: &Path, mounts: &[Mount]) -> io::Result<View> {
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    let is_host = image == Path::new("/");
    let mut mounts: Vec<Mount> = mounts.to_vec();
    for mount in &mut mounts {
        mount.at = resolved(image, &mount.at);
    }
    mounts.sort_by_key(|mount| mount.at.components().count());
    let mut made = BTreeSet::from([PathBuf::from("/"), PathBuf::from("/dev")]);
    for mount in &mounts {
        let is_inside_other =
            mounts.iter().any(|other| other.at != mount.at && mount.at.starts_with(&other.at));
        let parent = mount.at.parent().unwrap_or(Path::new("/"));
        if is_inside_other || image_path(image, &mount.at).exists() && !mount.at.starts_with("/dev") {
            continue;
        }
        // Every folder above a mount point that is missing.
        made.extend(
            parent.ancestors().filter(|folder| image_path(image, folder).is_dir()).map(Path::to_owned),
        );
    }
    let mut builder = Builder { root, lines: String::new() };
    for folder in &made {
        builder.folder(image, folder, &made, &mounts)?;
    }
    builder.devices()?;
    if !is_host {
        for name in EMPTY {
            fs::create_dir_all(root.join(name))?;
        }
        for name in ["proc", "sys"] {
            builder.mount(&Path::new("/").join(name), &Path::new("/").join(name), false)?;
        }
    }
    for mount in &mounts {
        builder.volume(mount, &mounts)?;
    }
    fs::write(table, builder.lines)?;
    mounts.reverse();
    Ok(View { image: image.to_owned(), mounts })
}

/// Folders of this machine with which a program can start, for an attempt.
pub(crate) fn host_folders(root: &Path) -> Vec<(PathBuf, PathBuf, String)> {
    let mut found = Vec::new();
    for name in ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let path = Path::new("/").join(name);
        match fs::read_link(&path) {
            Ok(target) => {
                // It may be there from the attempt before.
                let _ = symlink(target, root.join(name));
            }
            Err(_) if path.is_dir() && fs::create_dir_all(root.join(name)).is_ok() => {
                found.push((path, root.join(name), "rbind".to_owned()));
            }
            Err(_) => {}
        }
    }
    found
}

/// A line of an `fstab`.
pub(crate) fn line(source: &Path, target: &Path, options: &str) -> String {
    let escaped = |path: &Path| {
        let mut text = String::new();
        for c in path.to_string_lossy().chars() {
            match c {
                ' ' => text += "\\040",
                '\t' => text += "\\011",
                '\n' => text += "\\012",
                '\\' => text += "\\134",
                '#' => text += "\\043",
                c => text.push(c),
            }
        }
        text
    };
    format!("{} {} none {options} 0 0\n", escaped(source), escaped(target))
}

struct Builder<'a> {
    root: &'a Path,
    lines: String,
}

impl Builder<'_> {
    fn place(&self, inner: &Path) -> PathBuf {
        self.root.join(inner.strip_prefix("/").unwrap_or(inner))
    }

    /// Makes a folder anew, with each entry of the image's folder mounted.
    fn folder(
        &mut self,
        image: &Path,
        inner: &Path,
        made: &BTreeSet<PathBuf>,
        mounts: &[Mount],
    ) -> io::Result<()> {
        fs::create_dir_all(self.place(inner))?;
        let source = image_path(image, inner);
        if inner == Path::new("/dev") || !source.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&source)? {
            let entry = entry?;
            let at = inner.join(entry.file_name());
            let is_special =
                image != Path::new("/") && matches!(at.to_str(), Some("/proc" | "/sys" | "/dev"));
            if made.contains(&at) || is_special || mounts.iter().any(|mount| mount.at == at) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, self.place(&at))?;
            } else {
                self.mount(&entry.path(), &at, false)?;
            }
        }
        Ok(())
    }

    fn devices(&mut self) -> io::Result<()> {
        let folder = self.place(Path::new("/dev"));
        fs::create_dir_all(&folder)?;
        for (name, target) in DEVICE_LINKS {
            symlink(target, folder.join(name))?;
        }
        for entry in fs::read_dir("/dev")? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_wanted = DEVICES.contains(&name.as_ref())
                || ACCELERATORS.iter().any(|accelerator| name.starts_with(accelerator));
            if !is_wanted {
                continue;
            }
            let at = Path::new("/dev").join(name.as_ref());
            if entry.file_type()?.is_symlink() {
                symlink(fs::read_link(entry.path())?, self.place(&at))?;
            } else {
                self.mount(&entry.path(), &at, false)?;
            }
        }
        Ok(())
    }

    fn volume(&mut self, mount: &Mount, all: &[Mount]) -> io::Result<()> {
        // Inside of another volume the mount point is made in that volume, as container runtimes do.
        let outer = all
            .iter()
            .filter(|other| other.at != mount.at && mount.at.starts_with(&other.at))
            .max_by_key(|other| other.at.components().count());
        if let Some(outer) = outer {
            let below = mount.at.strip_prefix(&outer.at).unwrap_or(Path::new(""));
            point(&outer.source.join(below), mount.source.is_dir())?;
            let target = self.place(&mount.at);
            self.add(&mount.source, &target, mount.is_read_only);
            return Ok(());
        }
        self.mount(&mount.source, &mount.at, mount.is_read_only)
    }

    fn mount(&mut self, source: &Path, inner: &Path, is_read_only: bool) -> io::Result<()> {
        let target = self.place(inner);
        if !target.exists() && !is_below_mount(&self.lines, &target) {
            point(&target, source.is_dir())?;
        }
        self.add(source, &target, is_read_only);
        Ok(())
    }

    fn add(&mut self, source: &Path, target: &Path, is_read_only: bool) {
        let mut options = String::from("rbind");
        if is_read_only {
            options += ",ro";
            // In a user namespace the flags of the file system must be kept.
            if let Ok(flags) = rustix::fs::statvfs(source) {
                use rustix::fs::StatVfsMountFlags as Flags;
                for (flag, word) in
                    [(Flags::NOSUID, "nosuid"), (Flags::NODEV, "nodev"), (Flags::NOEXEC, "noexec")]
                {
                    if flags.f_flag.contains(flag) {
                        let _ = write!(options, ",{word}");
                    }
                }
            }
        }
        self.lines += &line(source, target, &options);
    }
}

/// Whether a mount that is already in the table covers the path: its mount point is then one of the image's.
fn is_below_mount(lines: &str, target: &Path) -> bool {
    lines.lines().filter_map(|line| line.split(' ').nth(1)).any(|covered| target.starts_with(covered))
}

/// An empty folder or file to mount at.
fn point(target: &Path, is_folder: bool) -> io::Result<()> {
    if target.exists() {
        return Ok(());
    }
    if is_folder {
        return fs::create_dir_all(target);
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(target, "")
}

fn image_path(image: &Path, inner: &Path) -> PathBuf {
    image.join(inner.strip_prefix("/").unwrap_or(inner))
}

/// The path with links of the image followed, as far as it exists; `..` is taken literally.
fn resolved(image: &Path, path: &Path) -> PathBuf {
    const LINKS: u32 = 32;
    let mut links = 0;
    let mut found = PathBuf::from("/");
    let mut rest: Vec<std::ffi::OsString> = path
        .components()
        .rev()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect();
    while let Some(part) = rest.pop() {
        if part == ".." {
            found.pop();
            continue;
        }
        let next = found.join(&part);
        match fs::read_link(image_path(image, &next)) {
            Ok(target) if links < LINKS => {
                links += 1;
                if target.is_absolute() {
                    found = PathBuf::from("/");
                }
                let parts = target.components().rev();
                let parts = parts.filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
                rest.extend(parts.map(|part| part.as_os_str().to_owned()));
            }
            _ => found = next,
        }
    }
    found
}

impl View {
    /// Where a path of the container lies on this machine.
    pub(crate) fn host_path(&self, inner: &Path) -> PathBuf {
        let inner = resolved(&self.image, inner);
        match self.mounts.iter().find(|mount| inner.starts_with(&mount.at)) {
            Some(mount) => match inner.strip_prefix(&mount.at) {
                Ok(below) if !below.as_os_str().is_empty() => mount.source.join(below),
                _ => mount.source.clone(),
            },
            None => image_path(&self.image, &inner),
        }
    }

    /// Whether a program can be started.
    ///
    /// # Errors
    /// Why not, in the words of container runtimes.
    pub(crate) fn check_program(&self, program: &str, path: &str, directory: &Path) -> Result<(), String> {
        use std::os::unix::fs::PermissionsExt;
        let is_program = |inner: &Path| {
            let found = fs::metadata(self.host_path(inner)).ok()?;
            Some(found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let fault = if program.contains('/') {
            match is_program(&directory.join(program)) {
                Some(true) => return Ok(()),
                Some(false) => format!("exec: {program:?}: permission denied"),
                None => format!("stat {program}: no such file or directory"),
            }
        } else {
            let mut folders = path.split(':').filter(|folder| !folder.is_empty());
            if folders.any(|folder| is_program(&Path::new(folder).join(program)) == Some(true)) {
                return Ok(());
            }
            format!("exec: {program:?}: executable file not found in $PATH")
        };
        Err(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails mount points appear on the machine itself, volumes are in the wrong place, or a program is said to be
    /// missing although it is there.
    #[test]
    fn missing_mount_points_are_made_beside_the_image_and_never_in_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (image, root) = (folder.path().join("image"), folder.path().join("root"));
        let volume = folder.path().join("a volume");
        for path in [image.join("bin"), image.join("run"), image.join("etc/app"), volume.clone()] {
            fs::create_dir_all(path).expect("a folder");
        }
        fs::create_dir_all(image.join("var")).expect("a folder");
        symlink("/run", image.join("var/run")).expect("a link");
        fs::write(image.join("bin/tool"), "").expect("a file");
        fs::write(image.join("etc/passwd"), "").expect("a file");
        let mount = |at: &str| Mount { at: at.into(), source: volume.clone(), is_read_only: true };
        let mounts = [mount("/var/run/secrets/x"), mount("/etc/app"), mount("/data"), mount("/data/sub")];
        let table = folder.path().join("fstab");
        let view = make(&root, &table, &image, &mounts).expect("a root folder");
        let text = fs::read_to_string(&table).expect("a table");
        let targets: Vec<String> = text
            .lines()
            .map(|line| line.split(' ').nth(1).expect("a target").to_owned())
            .filter_map(|target| Some(target.strip_prefix(root.to_str()?)?.to_owned()))
            .filter(|target| !target.starts_with("/dev/"))
            .collect();
        // `/run` is made anew because a mount point below it is missing; `/etc/app` exists, so `/etc` is mounted whole.
        assert!(!targets.contains(&"/run".to_owned()), "{targets:?}");
        for expected in
            ["/bin", "/etc", "/var", "/run/secrets/x", "/etc/app", "/data", "/data/sub", "/proc", "/sys"]
        {
            assert!(targets.contains(&expected.to_owned()), "{expected}: {targets:?}");
        }
        assert!(text.contains("/a\\040volume "), "{text}");
        assert!(text.lines().any(|line| line.contains("/data none rbind,ro")), "{text}");
        assert!(!image.join("data").exists() && !image.join("run/secrets").exists());
        assert!(volume.join("sub").is_dir(), "a mount point inside of a volume is made in the volume");
        assert_eq!(view.host_path(Path::new("/data/f")), volume.join("f"));
        assert_eq!(view.host_path(Path::new("/var/run/secrets/x/t")), volume.join("t"));
        assert_eq!(view.host_path(Path::new("/bin/../etc/passwd")), image.join("etc/passwd"));
        let refusal =
            |program: &str| view.check_program(program, "/sbin:/bin", Path::new("/")).expect_err(program);
        assert!(refusal("tool").contains("not found"), "it is there but can't be run");
        assert!(refusal("/bin/tool").contains("permission denied"));
        assert_eq!(refusal("/nothing"), "stat /nothing: no such file or directory");
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(image.join("bin/tool"), fs::Permissions::from_mode(0o755)).expect("a program");
        for program in ["tool", "/bin/tool", "bin/tool"] {
            view.check_program(program, "/sbin:/bin", Path::new("/")).expect(program);
        }
    }
}
