//! A child process that ends with the test.

use std::process::{Child, Command};

/// A running child; dropping it kills it and waits for it.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Starts a command.
    ///
    /// # Errors
    /// The system's reason why it does not start.
    pub fn start(command: &mut Command) -> std::io::Result<Self> {
        command.spawn().map(Self)
    }

    /// The child.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended already
        let _ = self.0.wait();
    }
}
