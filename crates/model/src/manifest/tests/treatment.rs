//! Fields that are right and that Probelet refuses, ignores, or ignores with a warning.

use super::*;

#[test]
fn what_is_not_carried_out_is_refused_by_name() {
    for (container, expected) in [
        (
            "lifecycle: {postStart: {tcpSocket: {port: 1}}}",
            "lifecycle.postStart.tcpSocket: not carried out yet",
        ),
        (
            "lifecycle: {preStop: {tcpSocket: {port: 1}}}",
            "lifecycle.preStop.tcpSocket: not carried out yet",
        ),
        (
            "resources: {limits: {ephemeral-storage: 1Gi}}",
            "resources.limits[ephemeral-storage]: not carried out yet",
        ),
        (
            "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: a, path: b, key: c}}}]",
            "env[0].valueFrom.fileKeyRef: not carried out yet",
        ),
        (
            "securityContext: {seLinuxOptions: {level: a}}",
            "securityContext.seLinuxOptions: not carried out yet",
        ),
        (
            "resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}]",
            "resizePolicy: not carried out yet",
        ),
        (
            "volumeDevices: [{name: a, devicePath: /a}]",
            "volumeDevices: not carried out yet",
        ),
    ] {
        in_container(container, &[&format!("spec.containers[0].{expected}")]);
    }
    for (spec, expected) in [
        (
            "initContainers: [{name: a, command: [a], resizePolicy: [{resourceName: cpu, restartPolicy: a}]}]",
            "initContainers[0].resizePolicy: not carried out yet",
        ),
        (
            "ephemeralContainers: [{name: a}]",
            "ephemeralContainers: not carried out yet",
        ),
        (
            "resources: {limits: {cpu: 1}}",
            "resources: not carried out yet",
        ),
        (
            "setHostnameAsFQDN: true",
            "setHostnameAsFQDN: true is not carried out yet",
        ),
        (
            "hostUsers: false",
            "hostUsers: false is not carried out yet",
        ),
        (
            "schedulingGates: [{name: a}]",
            "schedulingGates: not carried out yet",
        ),
        (
            "securityContext: {windowsOptions: {hostProcess: true}}",
            "securityContext.windowsOptions: not carried out yet",
        ),
    ] {
        in_spec(spec, &[&format!("spec.{expected}")]);
    }
}

#[test]
fn what_asks_for_nothing_is_accepted() {
    let text = PodText {
        metadata: "finalizers: []",
        spec: "initContainers: []\nhostPID: false\nhostIPC: false\nshareProcessNamespace: false\ndnsPolicy: ClusterFirst\n\
               securityContext: {}\nhostAliases:\noverhead: {}\nserviceAccountName: default\nschedulerName: default-scheduler\n\
               tolerations: [{operator: Exists}]\nimagePullSecrets: [{name: a}]\nenableServiceLinks: false\npriorityClassName: a\n\
               automountServiceAccountToken: false\npreemptionPolicy: Never\nhostUsers: true",
        container: "stdin: false\ntty: false\nlifecycle: {}\nresources: {limits: {}, requests: {cpu: 1, memory: 1Gi}}\nenvFrom: []\n\
                    securityContext: {privileged: false, readOnlyRootFilesystem: false, capabilities: {}}\nimagePullPolicy: Never\n\
                    terminationMessagePath: /dev/termination-log\nterminationMessagePolicy: File",
    };
    let loaded = load_text(&text.yaml()).unwrap();
    assert_eq!(loaded.warnings, []);
}

#[test]
fn what_only_a_cluster_does_is_a_warning() {
    let text = PodText {
        metadata: "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b}]\nfinalizers: [a/b]",
        spec: "nodeSelector: {a: b}\naffinity: {}\nserviceAccountName: robot\nschedulerName: mine\ntopologySpreadConstraints: []",
        ..PodText::default()
    };
    let warnings: Vec<String> = load_text(&text.yaml())
        .unwrap()
        .warnings
        .iter()
        .map(Diagnostic::to_string)
        .collect();
    assert_eq!(
        warnings,
        [
            "t:9:17: spec.nodeSelector: matters to a cluster only, ignored",
            "t:12:18: spec.schedulerName: matters to a cluster only, ignored",
        ]
    );
}
