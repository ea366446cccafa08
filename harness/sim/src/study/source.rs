//! A scenario with its manifests as files, and settings that replace single fields of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use windtunnel_api::manifest::{self, Manifest};
use windtunnel_scenario::Scenario;
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::objective::Objective;
use windtunnel_scenario::overrides::{self, Selector};

use crate::error::SimError;
use crate::plan::Plan;

/// A field with another value: `PATH=VALUE`.
///
/// The path leads into the scenario (`spec.environment.network.gateway`) or into an object of its manifests
/// (`InferenceService/digits:spec.predictor.maxReplicas`); the value is YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which field.
    pub path: String,
    /// Its value, YAML.
    pub value: String,
}

impl Setting {
    /// The object of the manifests that it changes; `None` for a field of the scenario.
    pub(super) fn selector(&self) -> Option<Result<Selector, SimError>> {
        Selector::is_one(&self.path)
            .then(|| Selector::parse(&self.path).map_err(|error| self.wrong(&error.message, &error.hint)))
    }

    fn wrong(&self, message: &str, remedy: &str) -> SimError {
        SimError::Setting {
            setting: self.to_string(),
            message: message.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.value)
    }
}

impl FromStr for Setting {
    type Err = String;

    /// Splits at the first `=`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((path, value)) if !path.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Self { path: path.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("write PATH=VALUE, such as InferenceService/digits:spec.predictor.maxReplicas=20 or \
                      spec.environment.network.gateway=2ms"
                .to_owned()),
        }
    }
}

/// A scenario and its manifests as they stand in their files.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
    seed: Option<u64>,
    settings: Vec<Setting>,
    objectives: Option<Vec<Objective>>,
}

impl Source {
    /// Reads a scenario file. Nothing is checked before [`Source::read_with`] or [`Source::plan`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path) -> Result<Self, SimError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SimError::Unreadable { file: path.to_owned(), message: error.to_string() })?;
        Ok(Self { path: path.to_owned(), text, seed: None, settings: Vec::new(), objectives: None })
    }

    /// With another seed than the file's.
    #[must_use]
    pub fn with_seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }

    /// With settings that every reading begins with.
    #[must_use]
    pub fn with_settings(mut self, settings: Vec<Setting>) -> Self {
        self.settings = settings;
        self
    }

    /// With other objectives than the file's.
    #[must_use]
    pub fn with_objectives(mut self, objectives: Vec<Objective>) -> Self {
        self.objectives = Some(objectives);
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The scenario and its manifests, with `settings` in the order given.
    ///
    /// # Errors
    /// Every fault of the files with these settings.
    pub fn read_with(&self, settings: &[Setting]) -> Result<(Scenario, Vec<Manifest>), SimError> {
        let (mut of_scenario, mut of_manifests) = (Vec::new(), Vec::new());
        for setting in self.settings.iter().chain(settings) {
            match setting.selector() {
                Some(selector) => of_manifests.push((setting, selector?)),
                None => of_scenario.push((setting.path.as_str(), setting.value.as_str())),
            }
        }
        let mut scenario = overrides::apply(&self.text, &self.path, &of_scenario)
            .map_err(|faults| SimError::faulty(faults.iter()))?;
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        if let Some(objectives) = &self.objectives {
            scenario.objectives.clone_from(objectives);
        }
        let mut manifests = manifests_of(&scenario)?;
        for (setting, selector) in of_manifests {
            set(&mut manifests, setting, &selector)?;
        }
        Ok((scenario, manifests))
    }

    /// The plan of the whole scenario with `settings`.
    ///
    /// # Errors
    /// As [`Source::read_with`], and what the simulator cannot do.
    pub fn plan(&self, settings: &[Setting]) -> Result<Plan, SimError> {
        let (scenario, manifests) = self.read_with(settings)?;
        Plan::new(&scenario, &manifests, Flight::Whole)
    }
}

fn manifests_of(scenario: &Scenario) -> Result<Vec<Manifest>, SimError> {
    let mut manifests = Vec::new();
    for path in &scenario.manifests {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| SimError::Unreadable { file: path.clone(), message: error.to_string() })?;
        manifests.extend(manifest::read(&text, &name).map_err(|faults| SimError::faulty(faults.iter()))?);
    }
    Ok(manifests)
}

/// Replaces one field of one object.
fn set(manifests: &mut [Manifest], setting: &Setting, selector: &Selector) -> Result<(), SimError> {
    let named = |manifest: &Manifest| manifest.kind == selector.kind && manifest.name == selector.name;
    let Some(place) = manifests.iter().position(named) else {
        let known: Vec<String> =
            manifests.iter().map(|manifest| format!("{}/{}", manifest.kind, manifest.name)).collect();
        return Err(setting.wrong(
            &format!("the manifests have no {}/{}", selector.kind, selector.name),
            &format!("name one of these: {}", known.join(", ")),
        ));
    };
    let mut value = manifests[place].value.clone();
    overrides::set_in(&mut value, &selector.path, &setting.value)
        .map_err(|error| setting.wrong(&error.message, &error.hint))?;
    // It is read like a file, so that a field that the kind does not have is found.
    let text = value.to_string();
    let name = format!("--set {setting}");
    let read = manifest::parse(&text, &name).map_err(|faults| SimError::faulty(faults.iter()))?;
    let Some(changed) = read.into_iter().next() else {
        return Err(setting.wrong("the result is no object", "correct the value"));
    };
    let impossible = manifest::impossible(&changed, &text, &name);
    if !impossible.is_empty() {
        return Err(SimError::faulty(impossible.iter()));
    }
    manifests[place] = changed;
    Ok(())
}
