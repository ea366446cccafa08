//! One container from its first start to its last end.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Container, LifecycleHandler, Probe},
    jiff::Timestamp,
};
use rustix::process::Signal;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    environment::{self, Surroundings, launch},
    images::ImageRefusal,
    isolation::{Enclosure, Isolation, SETUP_FAILED, Tools},
    logs::{self, Log},
    memory,
    probe::{self, Numbers, Question, Tally},
    process::{Launch, Process},
    record::{ContainerRecord, ContainerState, Termination},
    registry::{Input, Run},
    rootfs::{self, Mount, View},
    sandbox::Sandbox,
    service_variables, sources,
    terminal::Terminal,
    volumes,
};
use crate::controllers::pods::since;

/// Annotation on a pod: while a container has not been ready yet, its readiness probe is asked every so many
/// milliseconds, without initial delay and without events. It stands for proxies that probe on the node's behalf.
pub const AGGRESSIVE_PROBE_ANNOTATION: &str = "cluster.windtunnel.dev/aggressive-probe-ms";
/// Pause between attempts at a container whose configuration is not there.
const CONFIGURATION_RETRY: Duration = Duration::from_millis(500);
/// Time between two events about that.
const CONFIGURATION_REPORT: Duration = Duration::from_secs(10);
/// How long an image that can't be had is told as such before the status says that the node waits.
const SEEN: Duration = Duration::from_secs(3);
/// Least time from a start to the first question whether the container lives; a real node needs as long to hear of it.
const FIRST_LIVENESS: Duration = Duration::from_millis(250);
/// Longest termination message in bytes.
const MESSAGE_LIMIT: usize = 4096;
/// Grace in seconds of a container that a probe or hook ends, where nothing else is said.
const GRACE_S: i64 = 30;

/// Where programs look host names up.
const HOSTS: &str = "/etc/hosts";
/// Which name servers programs ask.
const RESOLVER: &str = "/etc/resolv.conf";
/// Where programs are in an image that does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
                self.wait_for_image(image_name, &refusal).await;
                return None;
            }
        };
        // It is tried often, so that the container starts as soon as it can, and told as often as a kubelet tries.
        let mut told: Option<Instant> = None;
        loop {
            let tells = told.is_none_or(|told| told.elapsed() >= CONFIGURATION_REPORT);
            if tells {
                told = Some(Instant::now());
                let message = format!("Container image \"{image_name}\" already present on machine");
                self.report(false, "Pulled", message);
            }
            match self.prepare_once(&image).await {
                Ok(prepared) => return Some(prepared),
                Err(cause) => {
                    if tells {
                        self.report(true, "Failed", format!("Error: {cause}"));
                    }
                    self.wait_because("CreateContainerConfigError", cause);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(CONFIGURATION_RETRY) => {}
                () = self.sandbox.shared.stopping() => return None,
            }
        }
    }

    /// Waits for the pod's end: the images of a cluster do not change. The status alternates as a node's that tries
    /// again.
    async fn wait_for_image(&self, image_name: &str, refusal: &ImageRefusal) {
        let mut backoff = Backoff::default();
        // The first wait of a pull is not zero, as that of a restart is.
        backoff.next(Duration::ZERO);
        let is_pull = refusal.reason == "ErrImagePull";
        loop {
            if is_pull {
                self.report(false, "Pulling", format!("Pulling image \"{image_name}\""));
                self.report(
                    true,
                    "Failed",
                    format!("Failed to pull image \"{image_name}\": {}", refusal.message),
                );
            } else {
                self.report(
                    true,
                    if refusal.reason == "InvalidImageName" { "InspectFailed" } else { refusal.reason },
                    refusal.message.clone(),
                );
            }
            self.report(true, "Failed", format!("Error: {}", refusal.reason));
            self.wait_because(refusal.reason, refusal.message.clone());
            if !is_pull {
                self.sandbox.shared.stopping().await;
                return;
            }
            let wait = backoff.next(Duration::ZERO);
            let until = Instant::now() + wait;
            if !self.sandbox.shared.waits_until(Instant::now() + SEEN.min(wait)).await {
                return;
            }
            self.report(false, "BackOff", format!("Back-off pulling image \"{image_name}\""));
            self.report(true, "Failed", "Error: ImagePullBackOff".into());
            let message =
                format!("Back-off pulling image \"{image_name}\": {}: {}", refusal.reason, refusal.message);
            self.wait_because("ImagePullBackOff", message);
            if !self.sandbox.shared.waits_until(until).await {
                return;
            }
        }
    }

    async fn prepare_once(&self, image: &crate::Image) -> Result<Prepared, String> {
        let sandbox = &self.sandbox;
        let names = environment::referenced(&sandbox.pod);
        let sources = sources::fetch(&sandbox.node.client, &sandbox.key.namespace, &names)
            .await
            .map_err(|error| error.to_string())?;
        // Services as they are now: a container that is started again sees those that came since.
        let services = sandbox
            .node
            .store
            .read(|world| service_variables::of(world, &sandbox.pod, sandbox.node.server_address));
        let surroundings = &Surroundings { services, ..sandbox.surroundings.clone() };
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
            surroundings,
            &super::expansion::PathMap::default(),
            directory.clone(),
        )?;
        let value = |name: &str| plain.env.get(name).cloned();
        let make =
            || Ok(volumes::mounts(&sandbox.pod, &self.container, &sandbox.volumes, &termination_log, value));
        let mounts = sandbox.node.directory.hold(make).map_err(start)??;
        let Isolation::Mounts(tools) = &sandbox.node.isolation else {
            let paths = volumes::paths(&mounts);
            let launch =
                launch(&sandbox.pod, &self.container, image, &sources, surroundings, &paths, directory)?;
            let make = || std::fs::create_dir_all(&launch.directory);
            let at_fault = |error| format!("working directory {}: {error}", launch.directory.display());
            sandbox.node.directory.hold(make).map_err(at_fault)?;
            return Ok(Prepared { launch, paths, termination_log, enclosure: None, view: View::default() });
        };
        let launch = launch(
            &sandbox.pod,
            &self.container,
            image,
            &sources,
            surroundings,
            &super::expansion::PathMap::default(),
            directory.clone(),
        )?;
        let make = || Ok(self.enclose(launch, image, tools, mounts, &folder, &directory));
        let (launch, enclosure, view) = sandbox.node.directory.hold(make).map_err(start)?.map_err(start)?;
        let paths = super::expansion::PathMap::default();
        Ok(Prepared { launch, paths, termination_log, enclosure: Some(enclosure), view })
    }

    /// Makes the container's root folder.
    fn enclose(
        &self,
        mut launch: Launch,
        image: &crate::Image,
        tools: &Tools,
        mut mounts: Vec<Mount>,
        folder: &Path,
        default_directory: &Path,
    ) -> std::io::Result<(Launch, Enclosure, View)> {
        let sandbox = &self.sandbox;
        let files = image.root.as_deref().unwrap_or(Path::new("/"));
        let covers =
            |path: &str, mounts: &[Mount]| mounts.iter().any(|mount| Path::new(path).starts_with(&mount.at));
        if !covers(HOSTS, &mounts) {
            let source = sandbox.hosts_file();
            mounts.push(Mount { at: HOSTS.into(), source, is_read_only: false });
        }
        if !covers(RESOLVER, &mounts) {
            if let Some(source) = sandbox.resolver_file() {
                mounts.push(Mount { at: RESOLVER.into(), source, is_read_only: false });
            } else if image.root.is_some() && Path::new(RESOLVER).exists() {
                mounts.push(Mount { at: RESOLVER.into(), source: RESOLVER.into(), is_read_only: true });
            }
        }
        if image.root.is_some() {
            launch.env.remove("TMPDIR");
            launch.env.insert("PATH".into(), image.env.get("PATH").map_or(PATH.into(), Clone::clone));
        }
        let inner = self.container.working_dir.as_deref().filter(|directory| !directory.is_empty());
        launch.directory = match inner {
            Some(inner) => {
                let relative = inner.trim_start_matches('/');
                if !covers(inner, &mounts) && !files.join(relative).is_dir() {
                    let source = default_directory.join(relative);
                    std::fs::create_dir_all(&source)?;
                    mounts.push(Mount { at: inner.into(), source, is_read_only: false });
                }
                inner.into()
            }
            None if image.root.is_some() => "/".into(),
            None => default_directory.to_owned(),
        };
        let (root, table) = (folder.join("root"), folder.join("fstab"));
        let view = rootfs::make(&root, &table, files, &mounts)?;
        let directory = view.host_path(&launch.directory);
        if !directory.exists() && covers(&launch.directory.to_string_lossy(), &mounts) {
            std::fs::create_dir_all(directory)?;
        }
        let pod = sandbox.pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
        let enclosure = Enclosure {
            tools: tools.clone(),
            root,
            table,
            errors: folder.join("mount-errors"),
            host_name: pod.unwrap_or_else(|| sandbox.key.name.clone()),
        };
        Ok((launch, enclosure, view))
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
        let (mut process, terminal) = match self.spawn(prepared, &log) {
            Ok(started) => started,
            Err(message) => return self.not_started(&message, started_at, runs),
        };
        let pipe = process.take_stdin().map(|pipe| Box::new(pipe) as Box<dyn Input>);
        let wants_input = self.container.stdin == Some(true);
        let typed =
            terminal.clone().filter(|_| wants_input).map(|terminal| Box::new(terminal) as Box<dyn Input>);
        let stdin = pipe.or(typed);
        let run = Arc::new(Run {
            log: log.clone(),
            process: process.id(),
            launch: prepared.launch.clone(),
            enclosure: prepared.enclosure.clone(),
            view: prepared.view.clone(),
            paths: prepared.paths.clone(),
            stdin: Arc::new(tokio::sync::Mutex::new(stdin)),
            terminal,
            is_stdin_once: self.container.stdin_once == Some(true),
            exit: watch::Sender::new(None),
            stop: CancellationToken::new(),
        });
        let _stop = run.stop.clone().drop_guard();
        let too_old = self.sandbox.node.registry.begin(&self.sandbox.uid, &self.container.name, run.clone());
        if let Some(path) = too_old.and_then(|log| log.path()) {
            for ago in 0..logs::FILES {
                // Most runs have one file only.
                let _ = std::fs::remove_file(logs::rotated(&path, ago));
            }
        }
        let guard = memory::limit(&self.container).map(|limit| memory::Guard::start(process.id(), limit));
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
        let exit_code = self.stay_with(&mut process, &run).await;
        log.end();
        run.exit.send_replace(Some(exit_code));
        if exit_code == SETUP_FAILED
            && let Some(enclosure) = &prepared.enclosure
            && let Some(cause) =
                std::fs::read_to_string(&enclosure.errors).ok().filter(|text| !text.is_empty())
        {
            return self.not_started(&format!("mounting volumes: {}", cause.trim_end()), started_at, runs);
        }
        let is_over_limit = guard.is_some_and(|guard| guard.has_killed());
        let (exit_code, reason) = match exit_code {
            _ if is_over_limit => (128 + Signal::KILL.as_raw(), "OOMKilled"),
            0 => (0, "Completed"),
            code => (code, "Error"),
        };
        Termination {
            exit_code,
            reason: reason.into(),
            message: self.termination_message(prepared, exit_code, &log),
            started_at,
            finished_at: Timestamp::now(),
            container_id,
        }
    }

    /// Starts the program, on a terminal if the container wants one.
    fn spawn(&self, prepared: &Prepared, log: &Log) -> Result<(Process, Option<Terminal>), String> {
        let launch = &prepared.launch;
        let program = launch.argv.first().map_or("", String::as_str);
        let path = launch.env.get("PATH").map_or("", String::as_str);
        let wrapped = match &prepared.enclosure {
            Some(enclosure) => {
                prepared.view.check_program(program, path, &launch.directory)?;
                let argv = enclosure.wrap(&launch.argv, &launch.directory);
                Launch { argv, env: launch.env.clone(), directory: "/".into() }
            }
            None => launch.clone(),
        };
        let processes = &self.sandbox.node.processes;
        let at_fault = |error: std::io::Error| format!("exec: \"{program}\": {error}");
        if self.container.tty != Some(true) {
            return Ok((processes.spawn(&wrapped, log).map_err(at_fault)?, None));
        }
        let (terminal, theirs) = Terminal::open().map_err(at_fault)?;
        let mut wrapped = wrapped;
        wrapped.env.entry("TERM".into()).or_insert_with(|| "xterm".into());
        let mut process = processes.spawn_on(&wrapped, &theirs).map_err(at_fault)?;
        process.record(terminal.clone(), log);
        Ok((process, Some(terminal)))
    }

    /// The end of a run that never began.
    fn not_started(&self, cause: &str, started_at: Timestamp, runs: i32) -> Termination {
        let message = format!(
            "{cause}; containers run as processes of this machine, so the program must be installed on it"
        );
        self.report(true, "Failed", format!("Error: {message}"));
        Termination {
            exit_code: 128,
            reason: "StartError".into(),
            message,
            started_at,
            finished_at: Timestamp::now(),
            container_id: self.container_id(runs),
        }
    }

    /// Sidecars are told to end when those who need them have ended: the containers, and sidecars after this one.
    async fn others_first(&self) {
        if self.role != Role::Sidecar {
            return;
        }
        let have_ended = self.sandbox.shared.until(|record| {
            let own = record.init_containers.iter().position(|init| init.name == self.container.name);
            let later = record.init_containers.iter().skip(own.map_or(0, |own| own + 1));
            later.chain(&record.containers).all(|other| !other.is_running())
        });
        tokio::select! {
            () = have_ended => {}
            () = self.sandbox.shared.overdue() => {}
        }
    }

    /// Waits for the process to end; ends it if a hook, a probe or the pod's stop asks for that.
    async fn stay_with(&self, process: &mut Process, run: &Arc<Run>) -> i32 {
        let name = &self.container.name;
        let grace_s = self.sandbox.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        if let Some(hook) = hook {
            let outcome = tokio::select! {
                biased;
                exit_code = process.wait() => return exit_code,
                () = self.sandbox.shared.stopping() => Ok(()),
                outcome = self.hook(hook, run) => outcome,
            };
            if let Err(cause) = outcome {
                tracing::debug!(pod = %self.sandbox.key, container = name, cause, "postStart hook failed");
                self.report(true, "FailedPostStartHook", "PostStartHook failed".into());
                self.report(false, "Killing", "FailedPostStartHook".into());
                return self.end(process, run, grace_s).await;
            }
        }
        let kill = tokio::select! {
            biased;
            exit_code = process.wait() => return exit_code,
            () = self.sandbox.shared.stopping() => None,
            kill = self.watch_probes(run) => Some(kill),
        };
        let Some((question, probe)) = kill else {
            self.report(false, "Killing", format!("Stopping container {name}"));
            tokio::select! {
                () = self.pre_stop(run) => {}
                exit_code = process.wait() => return exit_code,
                () = self.sandbox.shared.overdue() => {}
            }
            tokio::select! {
                exit_code = process.wait() => return exit_code,
                () = self.others_first() => {}
            }
            process.signal(Signal::TERM);
            tokio::select! {
                exit_code = process.wait() => return exit_code,
                () = self.sandbox.shared.overdue() => process.signal(Signal::KILL),
            }
            return process.wait().await;
        };
        let word = question.word().to_lowercase();
        self.report(false, "Killing", format!("Container {name} failed {word} probe, will be restarted"));
        self.end(process, run, probe.termination_grace_period_seconds.or(grace_s)).await
    }

    /// Ends the process while the pod lives on: preStop hook, SIGTERM, and SIGKILL after the grace.
    async fn end(&self, process: &mut Process, run: &Arc<Run>, grace_s: Option<i64>) -> i32 {
        let grace = Duration::from_secs(u64::try_from(grace_s.unwrap_or(GRACE_S)).unwrap_or(0));
        let over = Instant::now() + grace;
        tokio::select! {
            exit_code = process.wait() => return exit_code,
            () = self.pre_stop(run) => {}
            () = tokio::time::sleep_until(over) => {}
            () = self.sandbox.shared.overdue() => {}
        }
        process.signal(Signal::TERM);
        tokio::select! {
            exit_code = process.wait() => return exit_code,
            () = tokio::time::sleep_until(over) => {}
            () = self.sandbox.shared.overdue() => {}
        }
        process.signal(Signal::KILL);
        process.wait().await
    }

    /// Runs the container's preStop hook to its end; the caller bounds the time.
    async fn pre_stop(&self, run: &Arc<Run>) {
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let Some(hook) = hook else { return };
        if let Err(cause) = self.hook(hook, run).await {
            tracing::debug!(pod = %self.sandbox.key, container = self.container.name, cause, "preStop hook failed");
            // Without the cause: a server's answer may hold secrets.
            self.report(true, "FailedPreStopHook", "PreStopHook failed".into());
        }
    }

    async fn hook(&self, hook: &LifecycleHandler, run: &Arc<Run>) -> Result<(), String> {
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
            Some(command) => probe::exec(&self.sandbox, &Self::rewritten(run, command), run, LONG).await,
            None => Ok(()),
        }
    }

    /// Asks the probes; returns when one wants the container ended.
    async fn watch_probes(&self, run: &Arc<Run>) -> (Question, &Probe) {
        let started = Instant::now();
        if let Some(startup) = &self.container.startup_probe {
            if !self.ask_until_settled(Question::Startup, startup, run, started).await {
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
                Some(readiness) => self.follow_readiness(readiness, run, started).await,
                None => std::future::pending().await,
            }
        };
        let liveness = async {
            match &self.container.liveness_probe {
                Some(liveness) => loop {
                    if !self.ask_until_settled(Question::Liveness, liveness, run, started).await {
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
        run: &Arc<Run>,
        started: Instant,
    ) -> bool {
        let numbers = Numbers::of(probe);
        let mut tally = Tally::default();
        // A program that is asked before it has set up its signals would end otherwise than on a real node.
        let delay = if question == Question::Liveness { FIRST_LIVENESS } else { Duration::ZERO };
        tokio::time::sleep_until(started + numbers.initial_delay.max(delay)).await;
        let mut ticks = tokio::time::interval(numbers.period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = self.ask(probe, run).await;
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
    async fn follow_readiness(&self, probe: &Probe, run: &Arc<Run>, started: Instant) {
        let numbers = Numbers::of(probe);
        let mut tally = Tally::default();
        let mut aggressive = self.aggressive_period();
        let delay = if aggressive.is_some() { Duration::ZERO } else { numbers.initial_delay };
        tokio::time::sleep_until(started + delay).await;
        loop {
            let asked = Instant::now();
            let answer = self.ask(probe, run).await;
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

    async fn ask(&self, probe: &Probe, run: &Arc<Run>) -> Result<(), String> {
        let mut probe = probe.clone();
        if let Some(command) = probe.exec.as_mut().and_then(|exec| exec.command.as_mut()) {
            *command = Self::rewritten(run, command);
        }
        probe::ask(&self.sandbox, &self.container, &probe, run).await
    }

    /// A command as it is run where paths are rewritten.
    fn rewritten(run: &Run, command: &[String]) -> Vec<String> {
        command.iter().map(|text| run.paths.rewrite(text)).collect()
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
    enclosure: Option<Enclosure>,
    view: View,
}
