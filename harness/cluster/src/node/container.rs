//! One container from its first start to its last end.

use std::{path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, LifecycleHandler, Probe},
    jiff::Timestamp,
};
use rustix::process::Signal;
use tokio::time::Instant;

use super::{
    backoff::Backoff,
    environment::{self, launch},
    logs::Log,
    probe::{self, Numbers, Question, Tally},
    process::{Launch, Process},
    record::{ContainerRecord, ContainerState, Termination},
    sandbox::Sandbox,
    sources, volumes,
};
use crate::controllers::pods::since;

/// Annotation on a pod: while a container has not been ready yet, its readiness probe is asked every so many
/// milliseconds, without initial delay and without events. It stands for proxies that probe on the node's behalf.
pub const AGGRESSIVE_PROBE_ANNOTATION: &str = "cluster.windtunnel.dev/aggressive-probe-ms";
/// Pause between attempts at a container whose configuration is not there.
const CONFIGURATION_RETRY: Duration = Duration::from_millis(500);
/// Longest termination message in bytes.
const MESSAGE_LIMIT: usize = 4096;
/// Grace in seconds of a container that a probe or hook ends, where nothing else is said.
const GRACE_S: i64 = 30;

/// What a container is for its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next is started.
    Init,
    /// An init container that stays.
    Sidecar,
    /// A container.
    Main,
}

/// How a container's life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its last run was a success.
    Succeeded,
    /// Its last run failed, and it is not started again.
    Failed,
    /// The pod was stopped.
    Stopped,
}

/// A container of a pod.
pub(crate) struct ContainerTask {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) container: Container,
    pub(crate) role: Role,
}

impl ContainerTask {
    /// Runs the container, again and again as the restart policy says.
    pub(crate) async fn run(self) -> End {
        let mut backoff = Backoff::default();
        loop {
            let Some(prepared) = self.prepare().await else { return End::Stopped };
            let termination = self.run_once(&prepared).await;
            let ran_for = since(termination.started_at, termination.finished_at);
            let is_success = termination.is_success();
            self.update(|record| {
                record.state = ContainerState::Terminated(termination.clone());
                record.is_ready = false;
                record.is_started = false;
            });
            if self.sandbox.shared.is_stopping() {
                return if self.role == Role::Init && is_success { End::Succeeded } else { End::Stopped };
            }
            if !self.restarts(is_success) {
                return if is_success { End::Succeeded } else { End::Failed };
            }
            let wait = backoff.next(ran_for);
            if !wait.is_zero() && !self.back_off(wait, &termination).await {
                return End::Stopped;
            }
            self.update(|record| {
                record.last = Some(termination);
                record.restart_count += 1;
            });
        }
    }

    /// Whether the container is started again after an end.
    fn restarts(&self, is_success: bool) -> bool {
        let spec = self.sandbox.pod.spec.as_ref();
        let policy = spec.and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
        match self.role {
            Role::Sidecar => true,
            Role::Init => !is_success && policy != "Never",
            Role::Main => policy == "Always" || (policy == "OnFailure" && !is_success),
        }
    }

    /// Waits before the next start; returns whether there is to be one.
    async fn back_off(&self, wait: Duration, termination: &Termination) -> bool {
        let (name, pod) = (&self.container.name, &self.sandbox.key);
        let whose = format!("{name} pod={}_{}({})", pod.name, pod.namespace, self.sandbox.uid);
        self.update(|record| {
            record.last = Some(termination.clone());
            record.state = ContainerState::Waiting {
                reason: "CrashLoopBackOff".into(),
                message: format!("back-off {}s restarting failed container={whose}", wait.as_secs()),
            };
        });
        let message = format!(
            "Back-off restarting failed container {name} in pod {}_{}({})",
            pod.name, pod.namespace, self.sandbox.uid
        );
        self.report(true, "BackOff", message);
        // The wait counts from the end of the last run.
        let passed = since(termination.finished_at, Timestamp::now());
        tokio::select! {
            () = tokio::time::sleep(wait.saturating_sub(passed)) => true,
            () = self.sandbox.shared.stopping() => false,
        }
    }

    /// Everything that the start needs; waits for what is missing. `None` if the pod is stopped meanwhile.
    async fn prepare(&self) -> Option<Prepared> {
        let image_name = self.container.image.as_deref().unwrap_or_default();
        let found = self.sandbox.node.images.find(image_name, self.container.image_pull_policy.as_deref());
        let image = match found {
            Ok(image) => image.clone(),
            Err(refusal) => {
                let message = if refusal.reason == "ErrImagePull" {
                    format!("Failed to pull image \"{image_name}\": {}", refusal.message)
                } else {
                    refusal.message.clone()
                };
                self.report(true, "Failed", message);
                self.report(true, "Failed", format!("Error: {}", refusal.reason));
                self.wait_because(refusal.reason, refusal.message);
                // The images of a cluster do not change, so there is nothing to try again.
                self.sandbox.shared.stopping().await;
                return None;
            }
        };
        loop {
            match self.prepare_once(&image).await {
                Ok(prepared) => {
                    self.report(
                        false,
                        "Pulled",
                        format!("Container image \"{image_name}\" already present on machine"),
                    );
                    return Some(prepared);
                }
                Err(cause) => {
                    self.report(true, "Failed", format!("Error: {cause}"));
                    self.wait_because("CreateContainerConfigError", cause);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(CONFIGURATION_RETRY) => {}
                () = self.sandbox.shared.stopping() => return None,
            }
        }
    }

    async fn prepare_once(&self, image: &crate::Image) -> Result<Prepared, String> {
        let sandbox = &self.sandbox;
        let names = environment::referenced(&sandbox.pod);
        let sources = sources::fetch(&sandbox.node.client, &sandbox.key.namespace, &names)
            .await
            .map_err(|error| error.to_string())?;
        let folder = sandbox.folder.join("containers").join(&self.container.name);
        let directory = folder.join("work");
        let termination_log = folder.join("termination-log");
        let start = |error: std::io::Error| format!("{}: {error}", folder.display());
        let make = || {
            std::fs::create_dir_all(&directory)?;
            std::fs::write(&termination_log, "")
        };
        sandbox.node.directory.hold(make).map_err(start)?;
        // `subPathExpr` may refer to the environment, which does not depend on the mounts.
        let plain = launch(
            &sandbox.pod,
            &self.container,
            &crate::Image { argv: vec![String::new()], ..image.clone() },
            &sources,
            &sandbox.surroundings,
            &super::expansion::PathMap::default(),
            directory.clone(),
        )?;
        let value = |name: &str| plain.env.get(name).cloned();
        let make = || Ok(volumes::paths(&self.container, &sandbox.volumes, &termination_log, value));
        let paths = sandbox.node.directory.hold(make).map_err(start)??;
        let launch =
            launch(&sandbox.pod, &self.container, image, &sources, &sandbox.surroundings, &paths, directory)?;
        let make = || std::fs::create_dir_all(&launch.directory);
        sandbox
            .node
            .directory
            .hold(make)
            .map_err(|error| format!("working directory {}: {error}", launch.directory.display()))?;
        Ok(Prepared { launch, paths, termination_log })
    }

    /// Starts the process and stays with it to its end.
    async fn run_once(&self, prepared: &Prepared) -> Termination {
        let started_at = Timestamp::now();
        let runs = self.sandbox.shared.read(|record| {
            record.container(&self.container.name).map_or(0, |container| container.restart_count)
        });
        let log_path = self.sandbox.logs.join(&self.container.name).join(format!("{runs}.log"));
        let log = self.sandbox.node.directory.hold(|| Log::to_file(&log_path)).unwrap_or_else(|error| {
            tracing::warn!(%error, path = %log_path.display(), "a container log can't be made; its output is dropped");
            Log::in_memory()
        });
        let mut process = match self.sandbox.node.processes.spawn(&prepared.launch, &log) {
            Ok(process) => process,
            Err(error) => {
                let program = prepared.launch.argv.first().map_or("", String::as_str);
                let message = format!(
                    "exec: \"{program}\": {error}; containers run as processes of this machine, so the program must \
                     be installed on it"
                );
                self.report(true, "Failed", format!("Error: {message}"));
                return Termination {
                    exit_code: 128,
                    reason: "StartError".into(),
                    message,
                    started_at,
                    finished_at: Timestamp::now(),
                    container_id: self.container_id(runs),
                };
            }
        };
        self.sandbox.node.usage.track(&self.sandbox.key, &self.container.name, process.id());
        tracing::debug!(pod = %self.sandbox.key, container = self.container.name, process = process.id(), "started");
        let container_id = self.container_id(runs);
        let has_startup = self.container.startup_probe.is_some();
        let has_readiness = self.container.readiness_probe.is_some();
        self.update(|record| {
            record.state = ContainerState::Running { started_at };
            record.container_id.clone_from(&container_id);
            record.is_started = !has_startup;
            record.is_ready = !has_startup && !has_readiness;
        });
        self.report(false, "Created", "Container created".into());
        self.report(false, "Started", "Container started".into());
        let exit_code = self.stay_with(&mut process, prepared).await;
        Termination {
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.into(),
            message: self.termination_message(prepared, exit_code, &log),
            started_at,
            finished_at: Timestamp::now(),
            container_id,
        }
    }

    /// Waits for the process to end; ends it if a hook, a probe or the pod's stop asks for that.
    async fn stay_with(&self, process: &mut Process, prepared: &Prepared) -> i32 {
        let name = &self.container.name;
        let grace_s = self.sandbox.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        if let Some(hook) = hook {
            let outcome = tokio::select! {
                biased;
                exit_code = process.wait() => return exit_code,
                () = self.sandbox.shared.stopping() => Ok(()),
                outcome = self.hook(hook, prepared) => outcome,
            };
            if let Err(cause) = outcome {
                tracing::debug!(pod = %self.sandbox.key, container = name, cause, "postStart hook failed");
                self.report(true, "FailedPostStartHook", "PostStartHook failed".into());
                self.report(false, "Killing", "FailedPostStartHook".into());
                return self.end(process, grace_s).await;
            }
        }
        let kill = tokio::select! {
            biased;
            exit_code = process.wait() => return exit_code,
            () = self.sandbox.shared.stopping() => None,
            kill = self.watch_probes(prepared) => Some(kill),
        };
        let Some((question, probe)) = kill else {
            self.report(false, "Killing", format!("Stopping container {name}"));
            self.pre_stop(process, prepared).await;
            process.signal(Signal::TERM);
            tokio::select! {
                exit_code = process.wait() => return exit_code,
                () = self.sandbox.shared.overdue() => process.signal(Signal::KILL),
            }
            return process.wait().await;
        };
        let word = question.word().to_lowercase();
        self.report(false, "Killing", format!("Container {name} failed {word} probe, will be restarted"));
        self.end(process, probe.termination_grace_period_seconds.or(grace_s)).await
    }

    /// Ends the process while the pod lives on: SIGTERM, and SIGKILL after the grace.
    async fn end(&self, process: &mut Process, grace_s: Option<i64>) -> i32 {
        let grace = Duration::from_secs(u64::try_from(grace_s.unwrap_or(GRACE_S)).unwrap_or(0));
        process.signal(Signal::TERM);
        tokio::select! {
            exit_code = process.wait() => return exit_code,
            () = tokio::time::sleep(grace) => {}
            () = self.sandbox.shared.overdue() => {}
        }
        process.signal(Signal::KILL);
        process.wait().await
    }

    /// Runs the container's preStop hook, within the pod's grace.
    async fn pre_stop(&self, process: &mut Process, prepared: &Prepared) {
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let Some(hook) = hook else { return };
        let outcome = tokio::select! {
            _ = process.wait() => return,
            () = self.sandbox.shared.overdue() => return,
            outcome = self.hook(hook, prepared) => outcome,
        };
        if let Err(cause) = outcome {
            self.report(true, "FailedPreStopHook", format!("PreStopHook failed: {cause}"));
        }
    }

    async fn hook(&self, hook: &LifecycleHandler, prepared: &Prepared) -> Result<(), String> {
        // The caller bounds the time.
        const LONG: Duration = Duration::from_secs(3600);
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
            return Ok(());
        }
        if let Some(get) = &hook.http_get {
            return probe::http_get(&self.sandbox, &self.container, get, LONG).await;
        }
        match hook.exec.as_ref().and_then(|exec| exec.command.as_ref()) {
            Some(command) => {
                let command: Vec<String> = command.iter().map(|text| prepared.paths.rewrite(text)).collect();
                probe::exec(&self.sandbox, &command, &prepared.launch, LONG).await
            }
            None => Ok(()),
        }
    }

    /// Asks the probes; returns when one wants the container ended.
    async fn watch_probes(&self, prepared: &Prepared) -> (Question, &Probe) {
        let started = Instant::now();
        if let Some(startup) = &self.container.startup_probe {
            if !self.ask_until_settled(Question::Startup, startup, prepared, started).await {
                return (Question::Startup, startup);
            }
            let has_readiness = self.container.readiness_probe.is_some();
            self.update(|record| {
                record.is_started = true;
                record.is_ready = !has_readiness;
            });
        }
        let readiness = async {
            match &self.container.readiness_probe {
                Some(readiness) => self.follow_readiness(readiness, prepared, started).await,
                None => std::future::pending().await,
            }
        };
        let liveness = async {
            match &self.container.liveness_probe {
                Some(liveness) => loop {
                    if !self.ask_until_settled(Question::Liveness, liveness, prepared, started).await {
                        return liveness;
                    }
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = readiness => std::future::pending().await,
            liveness = liveness => (Question::Liveness, liveness),
        }
    }

    /// Asks until it is settled; for liveness success is never settled.
    async fn ask_until_settled(
        &self,
        question: Question,
        probe: &Probe,
        prepared: &Prepared,
        started: Instant,
    ) -> bool {
        let numbers = Numbers::of(probe);
        let mut tally = Tally::default();
        tokio::time::sleep_until(started + numbers.initial_delay).await;
        let mut ticks = tokio::time::interval(numbers.period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = self.ask(probe, prepared).await;
            if let Err(cause) = &answer {
                self.report(true, "Unhealthy", format!("{} probe failed: {cause}", question.word()));
            }
            match tally.record(answer.is_ok(), &numbers) {
                Some(true) if question == Question::Startup => return true,
                Some(false) => return false,
                _ => {}
            }
        }
    }

    /// Keeps the container's readiness as its probe says; never ends.
    async fn follow_readiness(&self, probe: &Probe, prepared: &Prepared, started: Instant) {
        let numbers = Numbers::of(probe);
        let mut tally = Tally::default();
        let mut aggressive = self.aggressive_period();
        let delay = if aggressive.is_some() { Duration::ZERO } else { numbers.initial_delay };
        tokio::time::sleep_until(started + delay).await;
        loop {
            let asked = Instant::now();
            let answer = self.ask(probe, prepared).await;
            if let (Err(cause), None) = (&answer, aggressive) {
                self.report(true, "Unhealthy", format!("Readiness probe failed: {cause}"));
            }
            // A proxy that asks often takes the first good answer.
            let settled = if aggressive.is_some() {
                answer.is_ok().then_some(true)
            } else {
                tally.record(answer.is_ok(), &numbers)
            };
            if let Some(is_ready) = settled {
                aggressive = None;
                self.update(|record| record.is_ready = is_ready);
            }
            tokio::time::sleep_until(asked + aggressive.unwrap_or(numbers.period)).await;
        }
    }

    async fn ask(&self, probe: &Probe, prepared: &Prepared) -> Result<(), String> {
        let mut probe = probe.clone();
        if let Some(command) = probe.exec.as_mut().and_then(|exec| exec.command.as_mut()) {
            for text in command {
                *text = prepared.paths.rewrite(text);
            }
        }
        probe::ask(&self.sandbox, &self.container, &probe, &prepared.launch).await
    }

    fn aggressive_period(&self) -> Option<Duration> {
        let annotations = self.sandbox.pod.metadata.annotations.as_ref()?;
        let period_ms: u64 = annotations.get(AGGRESSIVE_PROBE_ANNOTATION)?.parse().ok()?;
        Some(Duration::from_millis(period_ms.max(1)))
    }

    /// What the container wrote to its termination message file; the end of its log if it failed without a message
    /// and asks for that.
    fn termination_message(&self, prepared: &Prepared, exit_code: i32, log: &Log) -> String {
        let bytes = std::fs::read(&prepared.termination_log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MESSAGE_LIMIT)]).into_owned();
        let falls_back =
            self.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if text.is_empty() && falls_back && exit_code != 0 { log.tail() } else { text }
    }

    fn wait_because(&self, reason: &str, message: String) {
        self.update(|record| {
            record.state = ContainerState::Waiting { reason: reason.to_owned(), message };
        });
    }

    fn update(&self, change: impl FnOnce(&mut ContainerRecord)) {
        self.sandbox.shared.update(|record| {
            if let Some(container) = record.container_mut(&self.container.name) {
                change(container);
            }
        });
    }

    fn report(&self, warning: bool, reason: &str, message: String) {
        let list = if self.role == Role::Main { "containers" } else { "initContainers" };
        self.sandbox.report(format!("spec.{list}{{{}}}", self.container.name), warning, reason, message);
    }

    fn container_id(&self, run: i32) -> String {
        format!("process://{}-{}-{run}", self.sandbox.uid, self.container.name)
    }
}

/// What a start needs.
struct Prepared {
    launch: Launch,
    paths: super::expansion::PathMap,
    termination_log: PathBuf,
}
