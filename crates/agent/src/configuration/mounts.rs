//! Where a container's volumes are mounted.

use std::cell::RefCell;
use std::collections::BTreeSet;

use probelet_model::expand::expand;
use probelet_model::pod::{Container, VolumeMount};

/// A container's mounts, with what `subPathExpr` says made to a `subPath`.
///
/// # Errors
/// What of it is wrong, in upstream's words; the container waits with `CreateContainerConfigError`.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, makeMounts; pkg/kubelet/container/helpers.go,
/// ExpandContainerVolumeMounts; pkg/volume/validation/pv_validation.go, ValidatePathNoBacksteps.
/// Shown by: a_sub_path_is_made_of_variables_and_leads_nowhere_else.
pub(super) fn mounts(
    container: &Container,
    env: &[(String, String)],
) -> Result<Vec<VolumeMount>, String> {
    let mut mounts = container.volume_mounts.clone();
    for mount in &mut mounts {
        let Some(expression) = mount.sub_path_expr.take() else {
            continue;
        };
        let missing = RefCell::new(BTreeSet::new());
        let path = expand(&expression, |name| {
            let known = env.iter().find(|(known, _)| known == name);
            let value = known.map(|(_, value)| value.clone()).unwrap_or_default();
            if value.is_empty() {
                missing.borrow_mut().insert(name.to_owned());
            }
            Some(value)
        });
        let names: Vec<String> = missing.into_inner().into_iter().collect();
        if !names.is_empty() {
            return Err(format!("missing value for {}", names.join(", ")));
        }
        if path.starts_with('/') {
            return Err(format!(
                "error SubPath `{path}` must not be an absolute path"
            ));
        }
        if path.split('/').any(|part| part == "..") {
            return Err(format!(
                "unable to provision SubPath `{path}`: must not contain '..'"
            ));
        }
        mount.sub_path = Some(path).filter(|path| !path.is_empty());
    }
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::tests::pod;

    #[test]
    fn a_sub_path_is_made_of_variables_and_leads_nowhere_else() {
        let env = [("A", "a/b"), ("EMPTY", ""), ("UP", ".."), ("ROOT", "/etc")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut container = pod().containers[0].clone();
        let mut of = |expression: Option<&str>, path: Option<&str>| {
            container.volume_mounts = vec![VolumeMount {
                volume: "v".to_owned(),
                path: "/v".into(),
                read_only: false,
                sub_path: path.map(str::to_owned),
                sub_path_expr: expression.map(str::to_owned),
            }];
            mounts(&container, &env).map(|mounts| mounts[0].sub_path.clone())
        };
        assert_eq!(of(None, Some("x")), Ok(Some("x".to_owned())));
        assert_eq!(
            of(Some("$(A)/$$(A)"), None),
            Ok(Some("a/b/$(A)".to_owned()))
        );
        let wrong = |text: &str| Err(text.to_owned());
        assert_eq!(
            of(Some("$(Z)/$(EMPTY)/$(A)/$(B)"), None),
            wrong("missing value for B, EMPTY, Z")
        );
        assert_eq!(
            of(Some("x/$(UP)"), None),
            wrong("unable to provision SubPath `x/..`: must not contain '..'")
        );
        assert_eq!(
            of(Some("$(ROOT)/x"), None),
            wrong("error SubPath `/etc/x` must not be an absolute path")
        );
    }
}
