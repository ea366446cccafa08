//! The warden: a tiny shell that outlives a killed program just long enough to end what it started.
//!
//! Process groups that the node starts are told to it over a pipe. When the pipe ends without a farewell — the
//! program was killed, crashed or just exited — the warden kills the groups that are left. It sits in a process
//! group of its own, so that Ctrl-C in the terminal does not reach it.

use std::{
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

/// Reads `+ GROUP` and `- GROUP`; at the end of input kills what is left.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups=' '
while read -r op group; do
  case $op in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;; esac ;;
  esac
done
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done
"#;

/// A running warden.
#[derive(Debug)]
pub(crate) struct Warden {
    child: Child,
}

impl Warden {
    pub(crate) fn start() -> io::Result<Self> {
        let child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "windtunnel-warden"])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }

    /// Tells of a process group that was started. The write fits the pipe's buffer, so it does not block.
    pub(crate) fn watch(&mut self, group: i32) {
        self.tell('+', group);
    }

    /// Tells that a process group has ended.
    pub(crate) fn forget(&mut self, group: i32) {
        self.tell('-', group);
    }

    fn tell(&mut self, operation: char, group: i32) {
        // A warden that is gone can't be told; the node's own clean-up does not depend on it.
        if let Some(stdin) = &mut self.child.stdin
            && let Err(error) = stdin.write_all(format!("{operation} {group}\n").as_bytes())
        {
            tracing::warn!(%error, "the supervising shell is gone; a kill -9 would leave processes behind");
            self.child.stdin = None;
        }
    }

    /// Ends the warden and waits for it.
    pub(crate) fn stop(&mut self) {
        self.child.stdin = None;
        if let Err(error) = self.child.wait() {
            tracing::debug!(%error, "waiting for the supervising shell");
        }
    }
}
