//! The rows of the tables: field by field, what Probelet does with it.

/// What Probelet does with a field and everything in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Treatment {
    /// What it says is done.
    CarriedOut,
    /// It only matters to a cluster, and nobody misses it without one.
    ClusterOnly,
    /// It only matters to a cluster, and who set it should know that it does nothing here.
    Warn(&'static str),
    /// Never: also not when it is empty.
    NotYet,
    /// Carried out as these values, which are the defaults, and as no other.
    Only(&'static [Literal]),
    /// By its text; any other text is as the second part says.
    Case(&'static [(&'static str, Self)], &'static Self),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Literal {
    Bool(bool),
    Text(&'static str),
}

use Literal::{Bool, Text};
use Treatment::{CarriedOut, Case, ClusterOnly, NotYet, Only, Warn};

pub(super) type Row = (&'static str, Treatment);

const IGNORED: Treatment = Warn("matters to a cluster only, ignored");
const OFF: Treatment = Only(&[Bool(false)]);

/// No profile is set, whether the node has AppArmor or not.
const NO_APP_ARMOR: Treatment = Only(&[Text("Unconfined")]);

/// `metadata` of every kind, and what stands beside it; `status` is gone by now.
pub(super) const OBJECT: &[Row] = &[
    ("apiVersion", CarriedOut),
    ("kind", CarriedOut),
    ("metadata.annotations", CarriedOut),
    ("metadata.creationTimestamp", CarriedOut),
    ("metadata.deletionGracePeriodSeconds", CarriedOut),
    ("metadata.deletionTimestamp", CarriedOut),
    ("metadata.finalizers", CarriedOut),
    ("metadata.generateName", CarriedOut),
    ("metadata.generation", CarriedOut),
    ("metadata.labels", CarriedOut),
    ("metadata.managedFields", ClusterOnly),
    ("metadata.name", CarriedOut),
    ("metadata.namespace", CarriedOut),
    ("metadata.ownerReferences", CarriedOut),
    ("metadata.resourceVersion", CarriedOut),
    ("metadata.selfLink", ClusterOnly),
    ("metadata.uid", CarriedOut),
];

/// Below `spec` of a Pod.
///
/// Differs: whatever the account is and `automountServiceAccountToken` says, no token is mounted: there is
/// nobody here who would ask a pod for one.
pub(super) const POD: &[Row] = &[
    ("spec.activeDeadlineSeconds", CarriedOut),
    ("spec.affinity", IGNORED),
    ("spec.automountServiceAccountToken", ClusterOnly),
    ("spec.dnsConfig", CarriedOut),
    ("spec.dnsPolicy", CarriedOut),
    ("spec.enableServiceLinks", CarriedOut),
    ("spec.hostAliases", CarriedOut),
    ("spec.hostIPC", CarriedOut),
    ("spec.hostNetwork", CarriedOut),
    ("spec.hostPID", CarriedOut),
    ("spec.hostUsers", Only(&[Bool(true)])),
    ("spec.hostname", CarriedOut),
    ("spec.imagePullSecrets", CarriedOut),
    ("spec.nodeName", ClusterOnly),
    ("spec.nodeSelector", IGNORED),
    ("spec.os.name", Only(&[Text("linux")])),
    ("spec.preemptionPolicy", ClusterOnly),
    ("spec.priority", ClusterOnly),
    ("spec.priorityClassName", ClusterOnly),
    ("spec.readinessGates[].conditionType", CarriedOut),
    ("spec.restartPolicy", CarriedOut),
    ("spec.runtimeClassName", CarriedOut),
    (
        "spec.schedulerName",
        Case(&[("default-scheduler", ClusterOnly)], &IGNORED),
    ),
    ("spec.securityContext.appArmorProfile.type", NO_APP_ARMOR),
    ("spec.securityContext.fsGroup", CarriedOut),
    ("spec.securityContext.fsGroupChangePolicy", CarriedOut),
    ("spec.securityContext.runAsGroup", CarriedOut),
    ("spec.securityContext.runAsNonRoot", CarriedOut),
    ("spec.securityContext.runAsUser", CarriedOut),
    ("spec.securityContext.seccompProfile", CarriedOut),
    ("spec.securityContext.supplementalGroups", CarriedOut),
    ("spec.securityContext.supplementalGroupsPolicy", CarriedOut),
    ("spec.securityContext.sysctls", CarriedOut),
    ("spec.serviceAccount", ClusterOnly),
    ("spec.serviceAccountName", ClusterOnly),
    ("spec.setHostnameAsFQDN", OFF),
    ("spec.shareProcessNamespace", CarriedOut),
    ("spec.subdomain", CarriedOut),
    ("spec.terminationGracePeriodSeconds", CarriedOut),
    ("spec.tolerations", ClusterOnly),
    ("spec.topologySpreadConstraints", IGNORED),
    ("spec.volumes[].configMap", CarriedOut),
    ("spec.volumes[].downwardAPI", CarriedOut),
    (
        "spec.volumes[].emptyDir.medium",
        Only(&[Text(""), Text("Memory")]),
    ),
    ("spec.volumes[].emptyDir.sizeLimit", CarriedOut),
    ("spec.volumes[].hostPath.path", CarriedOut),
    ("spec.volumes[].hostPath.type", CarriedOut),
    ("spec.volumes[].name", CarriedOut),
    ("spec.volumes[].projected.defaultMode", CarriedOut),
    ("spec.volumes[].projected.sources[].configMap", CarriedOut),
    ("spec.volumes[].projected.sources[].downwardAPI", CarriedOut),
    ("spec.volumes[].projected.sources[].secret", CarriedOut),
    ("spec.volumes[].secret", CarriedOut),
];

/// Below each of `spec.containers[]` and `spec.initContainers[]`.
pub(super) const CONTAINER: &[Row] = &[
    ("args", CarriedOut),
    ("command", CarriedOut),
    ("env[].name", CarriedOut),
    ("env[].value", CarriedOut),
    ("env[].valueFrom.configMapKeyRef", CarriedOut),
    ("env[].valueFrom.fieldRef", CarriedOut),
    ("env[].valueFrom.resourceFieldRef", CarriedOut),
    ("env[].valueFrom.secretKeyRef", CarriedOut),
    ("envFrom[].configMapRef", CarriedOut),
    ("envFrom[].prefix", CarriedOut),
    ("envFrom[].secretRef", CarriedOut),
    ("image", CarriedOut),
    ("imagePullPolicy", CarriedOut),
    ("lifecycle.postStart.exec.command", CarriedOut),
    ("lifecycle.postStart.httpGet", CarriedOut),
    ("lifecycle.postStart.sleep", CarriedOut),
    ("lifecycle.postStart.tcpSocket", NotYet),
    ("lifecycle.preStop.exec.command", CarriedOut),
    ("lifecycle.preStop.httpGet", CarriedOut),
    ("lifecycle.preStop.sleep", CarriedOut),
    ("lifecycle.preStop.tcpSocket", NotYet),
    ("lifecycle.stopSignal", CarriedOut),
    ("name", CarriedOut),
    ("ports[].containerPort", CarriedOut),
    ("ports[].hostIP", CarriedOut),
    ("ports[].hostPort", CarriedOut),
    ("ports[].name", CarriedOut),
    ("ports[].protocol", CarriedOut),
    ("resources.limits.cpu", CarriedOut),
    ("resources.limits.memory", CarriedOut),
    // A share of the CPUs when they are short, and the pod's class; nothing is reserved on one host.
    ("resources.requests", CarriedOut),
    ("restartPolicy", CarriedOut),
    ("restartPolicyRules[].action", CarriedOut),
    ("restartPolicyRules[].exitCodes.operator", CarriedOut),
    ("restartPolicyRules[].exitCodes.values", CarriedOut),
    ("securityContext.allowPrivilegeEscalation", CarriedOut),
    ("securityContext.appArmorProfile.type", NO_APP_ARMOR),
    ("securityContext.capabilities", CarriedOut),
    ("securityContext.privileged", CarriedOut),
    ("securityContext.procMount", CarriedOut),
    ("securityContext.readOnlyRootFilesystem", CarriedOut),
    ("securityContext.runAsGroup", CarriedOut),
    ("securityContext.runAsNonRoot", CarriedOut),
    ("securityContext.runAsUser", CarriedOut),
    ("securityContext.seccompProfile", CarriedOut),
    ("stdin", CarriedOut),
    ("stdinOnce", CarriedOut),
    ("terminationMessagePath", CarriedOut),
    ("terminationMessagePolicy", CarriedOut),
    ("tty", CarriedOut),
    ("volumeMounts[].mountPath", CarriedOut),
    ("volumeMounts[].mountPropagation", Only(&[Text("None")])),
    ("volumeMounts[].name", CarriedOut),
    ("volumeMounts[].readOnly", CarriedOut),
    (
        "volumeMounts[].recursiveReadOnly",
        Only(&[Text("Disabled")]),
    ),
    ("volumeMounts[].subPath", CarriedOut),
    ("volumeMounts[].subPathExpr", CarriedOut),
    ("workingDir", CarriedOut),
];

/// Below each of a container's three probes.
pub(super) const PROBE: &[Row] = &[
    ("exec.command", CarriedOut),
    ("failureThreshold", CarriedOut),
    ("grpc.port", CarriedOut),
    ("grpc.service", CarriedOut),
    ("httpGet.host", CarriedOut),
    ("httpGet.httpHeaders[].name", CarriedOut),
    ("httpGet.httpHeaders[].value", CarriedOut),
    ("httpGet.path", CarriedOut),
    ("httpGet.port", CarriedOut),
    ("httpGet.scheme", CarriedOut),
    ("initialDelaySeconds", CarriedOut),
    ("periodSeconds", CarriedOut),
    ("successThreshold", CarriedOut),
    ("tcpSocket.host", CarriedOut),
    ("tcpSocket.port", CarriedOut),
    ("terminationGracePeriodSeconds", CarriedOut),
    ("timeoutSeconds", CarriedOut),
];

const AS_CLUSTER_IP: Treatment = Warn("carried out as ClusterIP: reachable from this host only");
const OWN_ADDRESS: Treatment = Warn("ignored: Probelet chooses the Service's address itself");

pub(super) const SERVICE: &[Row] = &[
    ("spec.allocateLoadBalancerNodePorts", ClusterOnly),
    (
        "spec.clusterIP",
        Case(&[("None", CarriedOut), ("", CarriedOut)], &OWN_ADDRESS),
    ),
    ("spec.clusterIPs", ClusterOnly),
    ("spec.externalTrafficPolicy", ClusterOnly),
    ("spec.healthCheckNodePort", ClusterOnly),
    ("spec.internalTrafficPolicy", ClusterOnly),
    ("spec.ipFamilies", ClusterOnly),
    ("spec.ipFamilyPolicy", ClusterOnly),
    ("spec.loadBalancerClass", ClusterOnly),
    ("spec.loadBalancerIP", ClusterOnly),
    ("spec.ports[].appProtocol", ClusterOnly),
    ("spec.ports[].name", CarriedOut),
    (
        "spec.ports[].nodePort",
        Warn("ignored: no port of this host is opened to others"),
    ),
    ("spec.ports[].port", CarriedOut),
    ("spec.ports[].protocol", CarriedOut),
    ("spec.ports[].targetPort", CarriedOut),
    ("spec.publishNotReadyAddresses", CarriedOut),
    ("spec.selector", CarriedOut),
    (
        "spec.sessionAffinity",
        Case(&[("ClientIP", NotYet)], &CarriedOut),
    ),
    ("spec.trafficDistribution", ClusterOnly),
    (
        "spec.type",
        Case(
            &[
                ("ExternalName", NotYet),
                ("LoadBalancer", AS_CLUSTER_IP),
                ("NodePort", AS_CLUSTER_IP),
            ],
            &CarriedOut,
        ),
    ),
];
