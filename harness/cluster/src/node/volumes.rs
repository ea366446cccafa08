//! Volumes as host folders.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use k8s_openapi::{
    api::core::v1::{
        ConfigMap, Container, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection,
        Volume, VolumeMount,
    },
    jiff::Timestamp,
};

use super::{
    environment::{Sources, Surroundings, TokenRequest, field, resource_field},
    expansion::{PathMap, expand},
    rootfs::Mount,
};

/// Where a termination message is written if the container does not say.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Life of a token where the volume does not say, in seconds.
const TOKEN_LIFETIME_S: i64 = 3600;
/// Mode of files where the volume does not say.
const FILE_MODE: i32 = 0o644;

/// Names of the ConfigMaps and Secrets that the pod's volumes show.
#[must_use]
pub(crate) fn referenced(pod: &Pod) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        config_maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
        secrets.extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            config_maps.extend(source.config_map.iter().map(|map| map.name.clone()));
            secrets.extend(source.secret.iter().map(|secret| secret.name.clone()));
        }
    }
    (config_maps, secrets)
}

/// What must be known to issue a token.
fn token_request(pod: &Pod, token: &ServiceAccountTokenProjection) -> TokenRequest {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    TokenRequest {
        account: account.unwrap_or_else(|| "default".to_owned()),
        audience: token.audience.clone().unwrap_or_default(),
        expiration_s: token.expiration_seconds.unwrap_or(TOKEN_LIFETIME_S),
    }
}

/// The tokens that the pod's volumes show.
#[must_use]
pub(crate) fn referenced_tokens(pod: &Pod) -> BTreeSet<TokenRequest> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let projected = volumes.filter_map(|volume| volume.projected.as_ref());
    let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
    sources.filter_map(|source| Some(token_request(pod, source.service_account_token.as_ref()?))).collect()
}

/// Whether what the pod's volumes show may change while it runs.
#[must_use]
pub(crate) fn may_change(pod: &Pod) -> bool {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).any(is_written_by_node)
}

/// Makes the pod's volumes under `folder` and tells where each is.
///
/// # Errors
/// A sentence for the event `FailedMount`.
pub(crate) fn make(
    pod: &Pod,
    folder: &Path,
    sources: &Sources,
    surroundings: &Surroundings,
) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut places = BTreeMap::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let place = make_one(pod, volume, &folder.join(&volume.name), sources, surroundings)
            .map_err(|cause| format!("MountVolume.SetUp failed for volume \"{}\" : {cause}", volume.name))?;
        places.insert(volume.name.clone(), place);
    }
    Ok(places)
}

fn make_one(
    pod: &Pod,
    volume: &Volume,
    place: &Path,
    sources: &Sources,
    surroundings: &Surroundings,
) -> Result<PathBuf, String> {
    if let Some(host) = &volume.host_path {
        let path = PathBuf::from(&host.path);
        let at_fault = |error: io::Error| format!("hostPath {}: {error}", host.path);
        match host.type_.as_deref().unwrap_or_default() {
            "DirectoryOrCreate" => fs::create_dir_all(&path).map_err(at_fault)?,
            "FileOrCreate" if !path.exists() => fs::write(&path, "").map_err(at_fault)?,
            "Directory" if !path.is_dir() => {
                return Err(format!("hostPath type check failed: {} is not a directory", host.path));
            }
            "File" if !path.is_file() => {
                return Err(format!("hostPath type check failed: {} is not a file", host.path));
            }
            _ => {}
        }
        return Ok(path);
    }
    let mut files = BTreeMap::new();
    if let Some(source) = &volume.config_map {
        let optional = source.optional.unwrap_or(false);
        let mode = source.default_mode.unwrap_or(FILE_MODE);
        if let Some(map) = find(&sources.config_maps, &source.name, "configmap", optional)? {
            add_items(&mut files, &config_map_data(map), source.items.as_deref(), mode, optional)?;
        }
    } else if let Some(source) = &volume.secret {
        let optional = source.optional.unwrap_or(false);
        let mode = source.default_mode.unwrap_or(FILE_MODE);
        let name = source.secret_name.as_deref().unwrap_or_default();
        if let Some(secret) = find(&sources.secrets, name, "secret", optional)? {
            add_items(&mut files, &secret_data(secret), source.items.as_deref(), mode, optional)?;
        }
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(FILE_MODE);
        add_fields(&mut files, pod, source.items.as_deref(), mode, surroundings)?;
    } else if let Some(projected) = &volume.projected {
        let mode = projected.default_mode.unwrap_or(FILE_MODE);
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let optional = map.optional.unwrap_or(false);
                if let Some(found) = find(&sources.config_maps, &map.name, "configmap", optional)? {
                    add_items(&mut files, &config_map_data(found), map.items.as_deref(), mode, optional)?;
                }
            }
            if let Some(secret) = &source.secret {
                let optional = secret.optional.unwrap_or(false);
                if let Some(found) = find(&sources.secrets, &secret.name, "secret", optional)? {
                    add_items(&mut files, &secret_data(found), secret.items.as_deref(), mode, optional)?;
                }
            }
            if let Some(token) = &source.service_account_token {
                // Absent where the API server issues none.
                if let Some(text) = sources.tokens.get(&token_request(pod, token)) {
                    files.insert(token.path.clone(), (text.clone().into_bytes(), mode));
                }
            }
            if let Some(api) = &source.downward_api {
                add_fields(&mut files, pod, api.items.as_deref(), mode, surroundings)?;
            }
        }
    } else if volume.empty_dir.is_none() {
        return Err("this node has the volume kinds emptyDir, configMap, secret, downwardAPI, projected and hostPath; \
                    use one of those"
            .to_owned());
    }
    if volume.empty_dir.is_some() {
        fs::create_dir_all(place).map_err(|error| format!("{}: {error}", place.display()))?;
    } else {
        write(place, &files).map_err(|error| format!("{}: {error}", place.display()))?;
    }
    Ok(place.to_owned())
}

type Data<'a> = BTreeMap<&'a str, &'a [u8]>;
type Files = BTreeMap<String, (Vec<u8>, i32)>;

fn find<'a, T>(
    all: &'a BTreeMap<String, Option<T>>,
    name: &str,
    kind: &str,
    optional: bool,
) -> Result<Option<&'a T>, String> {
    match all.get(name).and_then(Option::as_ref) {
        None if !optional => Err(format!("{kind} \"{name}\" not found")),
        found => Ok(found),
    }
}

fn config_map_data(map: &ConfigMap) -> Data<'_> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.as_str(), value.as_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice()));
    text.chain(binary).collect()
}

fn secret_data(secret: &Secret) -> Data<'_> {
    secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice())).collect()
}

fn add_items(
    files: &mut Files,
    data: &Data<'_>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
) -> Result<(), String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        files.extend(data.iter().map(|(key, value)| ((*key).to_owned(), (value.to_vec(), mode))));
        return Ok(());
    };
    for item in items {
        match data.get(item.key.as_str()) {
            Some(value) => {
                files.insert(item.path.clone(), (value.to_vec(), item.mode.unwrap_or(mode)));
            }
            None if optional => {}
            None => return Err(format!("references non-existent key: {}", item.key)),
        }
    }
    Ok(())
}

fn add_fields(
    files: &mut Files,
    pod: &Pod,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
    surroundings: &Surroundings,
) -> Result<(), String> {
    for item in items.unwrap_or_default() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(reference), _) => field(pod, reference, surroundings)?,
            (None, Some(reference)) => {
                let first =
                    pod.spec.as_ref().and_then(|spec| spec.containers.first()).cloned().unwrap_or_default();
                resource_field(pod, &first, reference, surroundings)?
            }
            (None, None) => continue,
        };
        files.insert(item.path.clone(), (text.into_bytes(), item.mode.unwrap_or(mode)));
    }
    Ok(())
}

/// Writes all files at once: they lie in a folder of their own behind the link `..data`, and a change is a change of
/// that link, so that a reader never sees half of it. Nothing is done if nothing has changed.
fn write(place: &Path, files: &Files) -> io::Result<()> {
    const DATA: &str = "..data";
    fs::create_dir_all(place)?;
    let is_same = |(name, (bytes, _)): (&String, &(Vec<u8>, i32))| {
        fs::read(place.join(DATA).join(name)).is_ok_and(|present| present == *bytes)
    };
    let present = fs::read_link(place.join(DATA)).ok();
    let count = |folder: &Path| files_below(folder).map_or(0, |found| found.len());
    if present.is_some() && count(&place.join(DATA)) == files.len() && files.iter().all(is_same) {
        return Ok(());
    }
    let folder = format!("..{}", Timestamp::now().as_nanosecond());
    fs::create_dir_all(place.join(&folder))?;
    for (name, (bytes, mode)) in files {
        let path = inside(&place.join(&folder), name)
            .ok_or_else(|| io::Error::other(format!("path {name} leads out of the volume")))?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(u32::try_from(*mode).unwrap_or(0o644)))?;
    }
    let next = place.join("..data_tmp");
    let _ = fs::remove_file(&next);
    symlink(&folder, &next)?;
    fs::rename(&next, place.join(DATA))?;
    let heads = |name: &str| Path::new(name).components().next().map(|part| part.as_os_str().to_owned());
    let wanted: BTreeSet<_> = files.keys().filter_map(|name| heads(name)).collect();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let is_own = entry.file_name().to_string_lossy().starts_with("..");
        if !is_own && !wanted.contains(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    for head in wanted {
        let link = place.join(&head);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(&head), link)?;
        }
    }
    if let Some(before) = present {
        fs::remove_dir_all(place.join(before))?;
    }
    Ok(())
}

fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files_below(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// A path below a folder; `None` if it would lead out of it.
fn inside(folder: &Path, below: &str) -> Option<PathBuf> {
    let below = Path::new(below);
    below
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        .then(|| folder.join(below))
}

/// What a container sees where: its termination message file, its hosts file and its volumes.
///
/// # Errors
/// A sentence for the waiting status `CreateContainerConfigError`.
pub(crate) fn mounts(
    pod: &Pod,
    container: &Container,
    volumes: &BTreeMap<String, PathBuf>,
    termination_log: &Path,
    env: impl Fn(&str) -> Option<String> + Copy,
) -> Result<Vec<Mount>, String> {
    let log_at = container.termination_message_path.as_deref().unwrap_or(TERMINATION_LOG);
    let mut mounts =
        vec![Mount { at: log_at.into(), source: termination_log.to_owned(), is_read_only: false }];
    let spec = pod.spec.as_ref();
    for mount in container.volume_mounts.iter().flatten() {
        let source = volumes.get(&mount.name).ok_or_else(|| {
            format!(
                "container \"{}\" mounts volume \"{}\", which the pod does not have",
                container.name, mount.name
            )
        })?;
        let mut all = spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let volume = all.find(|volume| volume.name == mount.name);
        let source = mounted(mount, source, env)?;
        mounts.retain(|other| other.at != Path::new(&mount.mount_path));
        mounts.push(Mount {
            at: mount.mount_path.clone().into(),
            source,
            is_read_only: mount.read_only == Some(true) || volume.is_some_and(is_written_by_node),
        });
    }
    Ok(mounts)
}

/// How paths inside a container map to paths of this machine, where there are no mounts.
pub(crate) fn paths(mounts: &[Mount]) -> PathMap {
    let mut map = PathMap::default();
    for mount in mounts {
        map.insert(&mount.at.to_string_lossy(), mount.source.clone());
    }
    map
}

/// Whether only the node writes to a volume.
fn is_written_by_node(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

/// A path with its references to the environment put in, all of which must have a value.
fn expanded(expression: &str, env: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let missing = std::cell::RefCell::new(BTreeSet::new());
    let path = expand(expression, |name| {
        let value = env(name).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.borrow_mut().insert(name.to_owned());
        }
        value
    });
    let missing: Vec<String> = missing.into_inner().into_iter().collect();
    if missing.is_empty() { Ok(path) } else { Err(format!("missing value for {}", missing.join(", "))) }
}

fn mounted(
    mount: &VolumeMount,
    volume: &Path,
    env: impl Fn(&str) -> Option<String>,
) -> Result<PathBuf, String> {
    let below = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(below), _) if !below.is_empty() => below.clone(),
        (_, Some(expression)) if !expression.is_empty() => expanded(expression, env)?,
        _ => return Ok(volume.to_owned()),
    };
    if Path::new(&below).is_absolute() {
        return Err(format!("error SubPath `{below}` must not be an absolute path"));
    }
    let path = inside(volume, &below)
        .ok_or_else(|| format!("unable to provision SubPath `{below}`: must not contain '..'"))?;
    if !path.exists() {
        fs::create_dir_all(&path)
            .map_err(|error| format!("subPath {below} of volume \"{}\": {error}", mount.name))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings {
            pod_ip: Ipv4Addr::LOCALHOST,
            host_ip: Ipv4Addr::LOCALHOST,
            ports: BTreeMap::new(),
            inherited: BTreeMap::new(),
            temporary: PathBuf::new(),
            services: BTreeMap::new(),
            capacity: (0, 0),
        }
    }

    fn made(volumes: &serde_json::Value) -> (tempfile::TempDir, Result<BTreeMap<String, PathBuf>, String>) {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": {"q": "r"}},
            "spec": {"containers": [], "volumes": volumes},
        }));
        let map = json!({"data": {"a.txt": "v1"}, "binaryData": {"b": "AAE="}});
        let secret = json!({"data": {"S": "czE="}});
        let sources = Sources {
            config_maps: [("cfg".to_owned(), serde_json::from_value(map).expect("a ConfigMap"))].into(),
            secrets: [("sec".to_owned(), serde_json::from_value(secret).expect("a Secret"))].into(),
            tokens: BTreeMap::new(),
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let places = make(&pod.expect("a pod"), folder.path(), &sources, &surroundings());
        (folder, places)
    }

    /// If this fails configuration and credentials do not reach the container.
    #[test]
    fn files_come_from_config_maps_secrets_and_the_pod() {
        let (_folder, places) = made(&json!([
            {"name": "c", "configMap": {"name": "cfg"}},
            {"name": "s", "secret": {"secretName": "sec", "items": [{"key": "S", "path": "d/x", "mode": 0o400}]}},
            {"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels['q']"}}]}},
            {"name": "all", "projected": {"sources": [{"configMap": {"name": "cfg"}}, {"secret": {"name": "sec"}}]}},
            {"name": "e", "emptyDir": {}},
            {"name": "o", "configMap": {"name": "none", "optional": true}},
        ]));
        let places = places.expect("volumes");
        let read = |volume: &str, file: &str| fs::read(places[volume].join(file)).ok();
        assert_eq!(read("c", "a.txt").as_deref(), Some(&b"v1"[..]));
        assert_eq!(read("c", "b").as_deref(), Some(&[0, 1][..]));
        assert_eq!(read("s", "d/x").as_deref(), Some(&b"s1"[..]));
        assert_eq!(read("d", "l").as_deref(), Some(&b"r"[..]));
        assert_eq!(read("all", "S").as_deref(), Some(&b"s1"[..]));
        assert!(places["e"].is_dir() && places["o"].is_dir());
        let mode = fs::metadata(places["s"].join("d/x")).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
    }

    /// If this fails two pods write into the same folder of a volume, or outside of it. Words are the kubelet's.
    #[test]
    fn parts_of_volumes_follow_the_environment() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let env = |name: &str| match name {
            "POD" => Some("p-1".to_owned()),
            "UP" => Some("../x".to_owned()),
            "TOP" => Some("/etc".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (expression, expected) in [
            ("logs/$(POD)", Ok("logs/p-1")),
            ("$$(POD)", Ok("$(POD)")),
            ("$(Z)/$(EMPTY)/$(B)", Err("missing value for B, EMPTY, Z")),
            ("$(UP)", Err("unable to provision SubPath `../x`: must not contain '..'")),
            ("$(TOP)", Err("error SubPath `/etc` must not be an absolute path")),
        ] {
            let mount = json!({"name": "v", "mountPath": "/m", "subPathExpr": expression});
            let mount: VolumeMount = serde_json::from_value(mount).expect("a mount");
            let expected = expected.map(|below: &str| folder.path().join(below)).map_err(str::to_owned);
            assert_eq!(mounted(&mount, folder.path(), env), expected, "{expression}");
        }
        assert!(folder.path().join("logs/p-1").is_dir());
    }

    /// If this fails a pod waits for ever without a word, or writes outside its folder.
    #[test]
    fn refusals_name_the_volume_and_the_cause() {
        for (volume, words) in [
            (json!({"configMap": {"name": "none"}}), "configmap \"none\" not found"),
            (json!({"secret": {"secretName": "none"}}), "secret \"none\" not found"),
            (
                json!({"configMap": {"name": "cfg", "items": [{"key": "z", "path": "z"}]}}),
                "non-existent key: z",
            ),
            (json!({"configMap": {"name": "cfg", "items": [{"key": "a.txt", "path": "../z"}]}}), "leads out"),
            (json!({"persistentVolumeClaim": {"claimName": "x"}}), "emptyDir, configMap"),
            (json!({"hostPath": {"path": "/none/such", "type": "Directory"}}), "is not a directory"),
        ] {
            let mut volume = volume;
            volume["name"] = "v".into();
            let (_folder, places) = made(&json!([volume]));
            let refusal = places.expect_err("refused");
            assert!(refusal.starts_with("MountVolume.SetUp failed for volume \"v\""), "{refusal}");
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
