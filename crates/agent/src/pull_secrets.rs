//! The logins for registries that a pod may use: its imagePullSecrets, or those of its service account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use probelet_model::id::{Kind, ObjectKey};
use probelet_model::pod::Pod;
use probelet_runtime::Credential;
use probelet_store::Store;
use serde_json::Value;

/// What a pod may log in with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PullSecrets {
    pub(crate) credentials: Vec<Credential>,
    /// Secrets that are not there, or that have no login in them.
    pub(crate) missing: Vec<String>,
}

impl PullSecrets {
    /// What is to be said of those that are missing.
    ///
    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, getPullSecretsForPod.
    /// Differs: it is said when something is pulled; and a Secret that cannot be read counts as missing, where
    /// upstream's pull fails.
    /// Shown by: logins_come_from_both_sorts_of_secrets_and_what_is_missing_is_named.
    pub(crate) fn complaint(&self) -> Option<String> {
        let missing = self.missing.join(", ");
        (!missing.is_empty()).then(|| {
            format!(
                "Unable to retrieve some image pull secrets ({missing}); attempting to pull the image may not succeed."
            )
        })
    }
}

/// The logins of a pod, as they are now.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, getPullSecretsForPod; pkg/credentialprovider/secrets/secrets.go,
/// MakeDockerKeyring; plugin/pkg/admission/serviceaccount/admission.go, Admit (a pod without any has those of its
/// service account).
/// Differs: those of the service account are looked up when something is pulled, and not written into the pod.
/// Shown by: logins_come_from_both_sorts_of_secrets_and_what_is_missing_is_named,
/// a_pod_without_logins_has_those_of_its_service_account.
pub(crate) fn pull_secrets(store: &Store, pod: &Pod) -> PullSecrets {
    let namespace = &pod.meta.namespace;
    let get = |kind, name: &str| {
        let key = ObjectKey::new(kind, namespace, name);
        store.get(&key).map(|object| object.value)
    };
    let mut names = pod.image_pull_secrets.clone();
    if names.is_empty() {
        let account = get(Kind::ServiceAccount, &pod.service_account);
        let listed = account.as_ref().map(|account| &account["imagePullSecrets"]);
        let listed = listed.and_then(Value::as_array).into_iter().flatten();
        names.extend(listed.filter_map(|one| one["name"].as_str().map(str::to_owned)));
    }
    let mut found = PullSecrets::default();
    for name in names {
        match get(Kind::Secret, &name).and_then(|secret| logins(&secret)) {
            Some(logins) => found.credentials.extend(logins),
            None => found.missing.push(name),
        }
    }
    found
}

/// The logins in a Secret; `None` if it is not of a sort that has any, or is malformed.
fn logins(secret: &Value) -> Option<Vec<Credential>> {
    let content = |key: &str| {
        let text = STANDARD.decode(secret["data"][key].as_str()?).ok()?;
        serde_json::from_slice::<Value>(&text).ok()
    };
    let auths = match secret["type"].as_str()? {
        "kubernetes.io/dockerconfigjson" => content(".dockerconfigjson")?["auths"].take(),
        "kubernetes.io/dockercfg" => content(".dockercfg")?,
        _ => return None,
    };
    auths.as_object()?.iter().map(login).collect()
}

/// One entry: a user and a password, or both of them as `auth`, which comes before.
///
/// Upstream: pkg/credentialprovider/config.go, DockerConfigEntry.UnmarshalJSON.
/// Shown by: logins_come_from_both_sorts_of_secrets_and_what_is_missing_is_named.
fn login((registry, entry): (&String, &Value)) -> Option<Credential> {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let (username, password) = match text("auth") {
        auth if auth.is_empty() => (text("username"), text("password")),
        auth => probelet_image::decode_auth(&auth).ok()?,
    };
    Some(Credential {
        registry: registry.clone(),
        username,
        password,
    })
}

#[cfg(test)]
mod tests {
    use probelet_store::Durability;
    use serde_json::json;

    use super::*;
    use crate::configuration::tests::pod;

    fn put(store: &Store, kind: Kind, name: &str, value: Value) {
        let key = ObjectKey::new(kind, "shop", name);
        store
            .transact(Durability::Derived, |transaction| {
                transaction.put_any(key, value).map(drop)
            })
            .unwrap();
    }

    fn secret(sort: &str, key: &str, content: &Value) -> Value {
        let content = STANDARD.encode(content.to_string());
        json!({ "metadata": {}, "type": sort, "data": { key: content } })
    }

    fn credential(registry: &str, username: &str, password: &str) -> Credential {
        Credential {
            registry: registry.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    fn as_json(auths: &Value) -> Value {
        secret(
            "kubernetes.io/dockerconfigjson",
            ".dockerconfigjson",
            &json!({ "auths": auths }),
        )
    }

    #[test]
    fn logins_come_from_both_sorts_of_secrets_and_what_is_missing_is_named() {
        let store = Store::in_memory();
        let auth = STANDARD.encode("carl:pass:word");
        let new = as_json(&json!({
            "registry.example.com": { "username": "anna", "password": "one" },
            "https://index.docker.io/v1/": { "auth": auth, "username": "x", "password": "y" },
        }));
        put(&store, Kind::Secret, "new", new);
        let auths = json!({ "host:5000": { "auth": "YTpiYg" } });
        let old = secret("kubernetes.io/dockercfg", ".dockercfg", &auths);
        put(&store, Kind::Secret, "old", old);
        let opaque = secret("Opaque", ".dockercfg", &auths);
        put(&store, Kind::Secret, "opaque", opaque);
        let malformed = as_json(&json!({ "r": { "auth": "%%%" } }));
        put(&store, Kind::Secret, "malformed", malformed);
        let mut pod = pod();
        pod.image_pull_secrets = ["new", "absent", "old", "opaque", "malformed"]
            .map(str::to_owned)
            .to_vec();
        let found = pull_secrets(&store, &pod);
        assert_eq!(
            found.credentials,
            [
                credential("https://index.docker.io/v1/", "carl", "pass:word"),
                credential("registry.example.com", "anna", "one"),
                credential("host:5000", "a", "bb"),
            ]
        );
        assert_eq!(
            found.complaint().as_deref(),
            Some(
                "Unable to retrieve some image pull secrets (absent, opaque, malformed); attempting to pull the image may not succeed."
            )
        );
    }

    #[test]
    fn a_pod_without_logins_has_those_of_its_service_account() {
        let store = Store::in_memory();
        let auths = json!({ "r": { "username": "u", "password": "p" } });
        put(&store, Kind::Secret, "theirs", as_json(&auths));
        let account = json!({ "metadata": {}, "imagePullSecrets": [{ "name": "theirs" }] });
        put(&store, Kind::ServiceAccount, "default", account);
        let mut pod = pod();
        let theirs = [credential("r", "u", "p")];
        let found = pull_secrets(&store, &pod);
        assert_eq!(found.credentials, theirs);
        assert_eq!(found.complaint(), None);
        pod.image_pull_secrets = vec!["own".to_owned()];
        assert_eq!(pull_secrets(&store, &pod).credentials, []);
        pod.service_account = "other".to_owned();
        pod.image_pull_secrets.clear();
        assert_eq!(pull_secrets(&store, &pod), PullSecrets::default());
    }
}
