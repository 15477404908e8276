//! Users and groups as a container's own `/etc/passwd` and `/etc/group` have them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use probelet_model::pod::User;
use probelet_model::security::PodSecurity;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use super::identity::Identity;
use crate::text;

/// More of a file than that is not read, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Why there is no such user; in words of upstream, as they end up in an event.
///
/// Upstream: containerd pkg/oci/spec_opts.go, WithUser, UserFromPath and GIDFromPath.
/// Shown by: users_of_images_are_looked_up, a_user_that_the_image_lacks_is_named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UserError {
    #[error("image user \"{0}\": no users found")]
    NoUser(String),
    #[error("image user \"{0}\": no groups found")]
    NoGroup(String),
    #[error("invalid USER value {0}")]
    Invalid(String),
    #[error("open {file}: {}", text::reason(*.errno))]
    File { file: &'static str, errno: Errno },
}

/// Both files of the root that the calling process is in. One that is missing has no lines, unless a name is
/// to be found in it.
pub(super) struct Users {
    passwd: Result<String, Errno>,
    group: Result<String, Errno>,
}

/// Who is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) user: User,
    /// `user:group` of the image, where `user` has no uid.
    pub(super) image: &'a str,
    pub(super) security: &'a PodSecurity,
}

impl Users {
    /// What the calling process's root has.
    pub(super) fn here() -> Self {
        Self {
            passwd: read("etc/passwd"),
            group: read("etc/group"),
        }
    }

    /// Looks up whom a container runs as.
    ///
    /// Groups are the primary one, those that `/etc/group` lists the user in, unless the policy is Strict, those
    /// of the pod, and that of its volumes.
    ///
    /// Upstream: containerd pkg/oci/spec_opts.go, WithUser, WithUserID, WithUsername and WithAdditionalGIDs;
    /// kubelet pkg/kubelet/kuberuntime/security_context.go, convertToRuntimeSecurityContext.
    /// Shown by: users_come_from_passwd_and_group, groups_follow_the_policy, users_of_images_are_looked_up,
    /// of_two_users_with_one_uid_the_one_that_is_named_counts.
    /// Differs: the group of an image's `user:group` counts, as for Docker; kubelet cuts it off before containerd
    /// sees it.
    pub(super) fn find(&self, wanted: Wanted<'_>) -> Result<Identity, UserError> {
        let Wanted {
            user,
            image,
            security,
        } = wanted;
        let image = if user.uid.is_none() { image } else { "" };
        let (name, group) = match image.split(':').collect::<Vec<_>>()[..] {
            [name] => (name, None),
            [name, group] => (name, Some(group)),
            _ => return Err(UserError::Invalid(image.to_owned())),
        };
        let by_number = |uid| {
            let lines = self.passwd.as_deref().unwrap_or_default();
            (uid, entries(lines).find(|of| number(of[2]) == Some(uid)))
        };
        let (uid, entry) = match (user.uid, number(name)) {
            (Some(uid), _) | (None, Some(uid)) => by_number(uid),
            (None, None) if name.is_empty() => by_number(0),
            (None, None) => {
                let (uid, entry) = self.by_name(name, image)?;
                (uid, Some(entry))
            }
        };
        let gid = match (user.gid, group) {
            (Some(gid), _) => gid,
            (None, Some(group)) => match number(group) {
                Some(gid) => gid,
                None => self.gid_of(group, image)?,
            },
            (None, None) => entry
                .as_ref()
                .and_then(|fields| number(fields[3]))
                .unwrap_or(0),
        };
        let home = entry
            .as_ref()
            .map(|fields| fields[5])
            .filter(|home| !home.is_empty())
            .unwrap_or("/");
        let mut groups = vec![gid];
        let mut add = |gid: u32| {
            if !groups.contains(&gid) {
                groups.push(gid);
            }
        };
        if let Some(name) = entry
            .as_ref()
            .map(|fields| fields[0])
            .filter(|_| !security.strict_groups)
        {
            let lines = self.group.as_deref().unwrap_or_default().lines();
            lines
                .filter_map(|line| listed(line, name))
                .for_each(&mut add);
        }
        let of_pod = security.supplemental_groups.iter().copied();
        of_pod
            .chain(security.fs_group.map(|group| group.gid))
            .for_each(add);
        Ok(Identity {
            uid,
            gid,
            groups,
            home: home.to_owned(),
        })
    }

    /// The entry of that name: another may have the same uid.
    fn by_name(&self, name: &str, image: &str) -> Result<(u32, Vec<&str>), UserError> {
        let lines = self.passwd.as_ref().map_err(|&errno| UserError::File {
            file: "/etc/passwd",
            errno,
        })?;
        entries(lines)
            .find(|fields| fields[0] == name)
            .and_then(|fields| Some((number(fields[2])?, fields)))
            .ok_or_else(|| UserError::NoUser(image.to_owned()))
    }

    fn gid_of(&self, name: &str, image: &str) -> Result<u32, UserError> {
        let lines = self.group.as_ref().map_err(|&errno| UserError::File {
            file: "/etc/group",
            errno,
        })?;
        lines
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.len() >= 3 && fields[0] == name)
            .and_then(|fields| number(fields[2]))
            .ok_or_else(|| UserError::NoGroup(image.to_owned()))
    }
}

fn entries(passwd: &str) -> impl Iterator<Item = Vec<&str>> {
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(|fields| fields.len() >= 6)
}

/// An id, which upstream bounds to 31 bits.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&id| i32::try_from(id).is_ok())
}

/// The group of one line of `/etc/group`, if `user` is among its members; not the user's own of the same name.
///
/// Upstream: containerd pkg/oci/spec_opts.go, WithAdditionalGIDs.
/// Shown by: users_come_from_passwd_and_group.
fn listed(line: &str, user: &str) -> Option<u32> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else {
        return None;
    };
    members
        .split(',')
        .any(|member| member == user && name != user)
        .then(|| number(gid))
        .flatten()
}

/// A file of the root; it may be a symlink of the image, but leads neither out, nor into `/proc`, nor to
/// something that never ends.
fn read(path: &str) -> Result<String, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, Path::new("/"), flags, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(&root, path, flags, Mode::empty(), resolve)?;
    if !FileType::from_raw_mode(fstat(&file)?.st_mode).is_file() {
        return Err(Errno::INVAL);
    }
    let mut bytes = Vec::new();
    let read = File::from(file).take(MAX_FILE).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use probelet_model::security::FsGroup;

    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:www:/var/www:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:root\nadm:x:4:web,root\nlog:x:5:other,web\nweb:x:44:web\n";

    fn users() -> Users {
        Users {
            passwd: Ok(PASSWD.into()),
            group: Ok(GROUP.into()),
        }
    }

    fn find(user: User, image: &str, security: &PodSecurity) -> Result<Identity, UserError> {
        users().find(Wanted {
            user,
            image,
            security,
        })
    }

    #[track_caller]
    fn check(uid: Option<u32>, gid: Option<u32>, expect: (u32, u32, &[u32], &str)) {
        let found = find(User { uid, gid }, "web:log", &PodSecurity::default());
        let found = if uid.is_none() {
            find(User { uid, gid }, "", &PodSecurity::default())
        } else {
            found
        };
        let found = found.unwrap();
        assert_eq!(
            (found.uid, found.gid, &found.groups[..], &found.home[..]),
            expect
        );
    }

    #[test]
    fn users_come_from_passwd_and_group() {
        check(None, None, (0, 0, &[0, 4], "/root"));
        check(Some(33), None, (33, 44, &[44, 4, 5], "/var/www"));
        check(Some(33), Some(7), (33, 7, &[7, 4, 5], "/var/www"));
        check(Some(4000), None, (4000, 0, &[0], "/"));
        check(Some(4000), Some(4001), (4000, 4001, &[4001], "/"));
        check(None, Some(9), (0, 9, &[9, 4], "/root"));
    }

    #[test]
    fn of_two_users_with_one_uid_the_one_that_is_named_counts() {
        let users = Users {
            passwd: Ok("root:x:0:0::/root:/bin/sh\ntoor:x:0:7::/toor:/bin/sh\n".into()),
            group: Ok("adm:x:4:root\nlog:x:5:toor\n".into()),
        };
        let security = PodSecurity::default();
        for (image, gid, groups, home) in [
            ("toor", 7, [7, 5], "/toor"),
            ("root", 0, [0, 4], "/root"),
            ("0", 0, [0, 4], "/root"),
        ] {
            let wanted = Wanted {
                user: User::default(),
                image,
                security: &security,
            };
            let expected = Identity {
                uid: 0,
                gid,
                groups: groups.into(),
                home: home.into(),
            };
            assert_eq!(users.find(wanted), Ok(expected), "{image}");
        }
    }

    #[test]
    fn groups_follow_the_policy() {
        let mut security = PodSecurity {
            supplemental_groups: vec![70, 4, 71],
            strict_groups: false,
            fs_group: Some(FsGroup {
                gid: 80,
                on_root_mismatch: true,
            }),
            sysctls: Vec::new(),
        };
        let web = User {
            uid: Some(33),
            gid: None,
        };
        let groups = |security: &PodSecurity| find(web, "", security).unwrap().groups;
        assert_eq!(groups(&security), [44, 4, 5, 70, 71, 80]);
        security.strict_groups = true;
        assert_eq!(groups(&security), [44, 70, 4, 71, 80]);
    }

    #[test]
    fn users_of_images_are_looked_up() {
        let security = PodSecurity::default();
        let none = User::default();
        for (image, uid, gid) in [
            ("web", 33, 44),
            ("33", 33, 44),
            ("web:adm", 33, 4),
            ("33:7", 33, 7),
            ("4000:adm", 4000, 4),
            ("4000", 4000, 0),
            ("", 0, 0),
        ] {
            let found = find(none, image, &security).unwrap();
            assert_eq!((found.uid, found.gid), (uid, gid), "{image}");
        }
        let group = User {
            uid: None,
            gid: Some(9),
        };
        assert_eq!(find(group, "web:adm", &security).unwrap().gid, 9);
        for (image, error) in [
            ("nobody", "image user \"nobody\": no users found"),
            ("web:none", "image user \"web:none\": no groups found"),
            ("a:b:c", "invalid USER value a:b:c"),
            ("-1", "image user \"-1\": no users found"),
        ] {
            let found = find(none, image, &security);
            assert_eq!(found.unwrap_err().to_string(), error);
        }
        let without = Users {
            passwd: Err(Errno::NOENT),
            group: Err(Errno::NOENT),
        };
        let wanted = |image| Wanted {
            user: none,
            image,
            security: &security,
        };
        assert_eq!(without.find(wanted("5:6")).unwrap().gid, 6);
        assert_eq!(
            without.find(wanted("web")).unwrap_err().to_string(),
            "open /etc/passwd: no such file or directory"
        );
    }
}
