//! Manifests in the manner of tutorials and of what charts come to: taken as they are.

use super::*;

/// Everything in `text` is taken, without a word.
#[track_caller]
fn taken(text: &str, expected: &[&str]) {
    let source = Source::Text {
        name: "t".to_owned(),
        text: text.to_owned(),
    };
    let options = Options {
        default_runtime_class: Some("host".to_owned()),
    };
    let of_images = load(std::slice::from_ref(&source), &Options::default());
    assert!(of_images.is_ok(), "{of_images:?}");
    let loaded = load(&[source], &options).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let keys: Vec<String> = loaded
        .objects
        .iter()
        .map(|object| object.key.to_string())
        .collect();
    assert_eq!(keys, expected);
    let warnings = loaded.warnings.iter().map(Diagnostic::to_string);
    let unexpected: Vec<String> = warnings
        .filter(|warning| !warning.contains("carried out as ClusterIP"))
        .collect();
    assert_eq!(unexpected, [""; 0]);
    let survey = survey::survey(&[Source::Text {
        name: "t".to_owned(),
        text: text.to_owned(),
    }]);
    assert_eq!(survey.errors, [], "{text}");
}

#[test]
fn a_web_server_and_its_service_are_taken() {
    taken(
        r"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: hello
  labels: {app: hello}
spec:
  replicas: 3
  selector: {matchLabels: {app: hello}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
      - name: server
        image: example.com/hello:1.27
        command: [httpd, -f, -p, '8080']
        ports: [{name: http, containerPort: 8080}]
        resources: {requests: {cpu: 100m, memory: 64Mi}}
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 5}
        livenessProbe: {tcpSocket: {port: http}, initialDelaySeconds: 3}
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  type: LoadBalancer
  selector: {app: hello}
  ports: [{name: http, port: 80, targetPort: http}]
",
        &["Deployment default/hello", "Service default/hello"],
    );
}

#[test]
fn a_guestbook_is_taken() {
    let tier = |name: &str, role: &str| {
        format!(
            r"
- apiVersion: v1
  kind: Service
  metadata: {{name: {name}, labels: {{app: store, role: {role}}}}}
  spec:
    selector: {{app: store, role: {role}}}
    ports: [{{port: 6379, targetPort: store}}]
- apiVersion: apps/v1
  kind: Deployment
  metadata: {{name: {name}, labels: {{app: store, role: {role}}}}}
  spec:
    replicas: 1
    selector: {{matchLabels: {{app: store, role: {role}}}}}
    template:
      metadata: {{labels: {{app: store, role: {role}}}}}
      spec:
        containers:
        - name: {role}
          image: example.com/store:6
          command: [store-server]
          env:
          - {{name: GET_HOSTS_FROM, value: env}}
          - {{name: LEADER, value: $(STORE_LEADER_SERVICE_HOST)}}
          ports: [{{name: store, containerPort: 6379}}]"
        )
    };
    let text = format!(
        "apiVersion: v1\nkind: List\nitems:{}{}",
        tier("store-leader", "leader"),
        tier("store-follower", "follower")
    );
    taken(
        &text,
        &[
            "Service default/store-leader",
            "Deployment default/store-leader",
            "Service default/store-follower",
            "Deployment default/store-follower",
        ],
    );
}

#[test]
fn a_sidecar_that_shares_a_directory_is_taken() {
    taken(
        r"
apiVersion: v1
kind: Pod
metadata: {name: counter}
spec:
  restartPolicy: Never
  volumes: [{name: shared, emptyDir: {}}]
  initContainers:
  - name: tail
    image: busybox
    restartPolicy: Always
    args: [/bin/sh, -c, tail -n+1 -F /var/log/count.log]
    volumeMounts: [{name: shared, mountPath: /var/log}]
  containers:
  - name: count
    image: busybox
    args: [/bin/sh, -c, 'while true; do date >> /var/log/count.log; sleep 1; done']
    volumeMounts: [{name: shared, mountPath: /var/log}]
",
        &["Pod default/counter"],
    );
}

#[test]
fn configuration_and_secrets_are_taken() {
    taken(
        r"
apiVersion: v1
kind: Namespace
metadata: {name: game}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: demo, namespace: game}
data:
  player_initial_lives: '3'
  game.properties: |
    enemy.types=aliens,monsters
---
apiVersion: v1
kind: Secret
metadata: {name: credentials, namespace: game}
type: Opaque
stringData: {username: admin, password: t0p}
---
apiVersion: v1
kind: Pod
metadata: {name: demo, namespace: game}
spec:
  containers:
  - name: demo
    image: alpine
    command: [sleep, '3600']
    envFrom: [{configMapRef: {name: demo}}]
    env:
    - {name: LIVES, valueFrom: {configMapKeyRef: {name: demo, key: player_initial_lives}}}
    - {name: USER, valueFrom: {secretKeyRef: {name: credentials, key: username}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    volumeMounts:
    - {name: config, mountPath: /config, readOnly: true}
    - {name: all, mountPath: /all}
  volumes:
  - name: config
    configMap: {name: demo, items: [{key: game.properties, path: game.properties}]}
  - name: all
    projected:
      sources:
      - secret: {name: credentials}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
",
        &[
            "Namespace game",
            "ConfigMap game/demo",
            "Secret game/credentials",
            "Pod game/demo",
        ],
    );
}

#[test]
fn what_a_chart_comes_to_is_taken() {
    let labels = "{helm.sh/chart: web-1.0.0, app.kubernetes.io/name: web, app.kubernetes.io/instance: shop, \
                  app.kubernetes.io/version: '1.0', app.kubernetes.io/managed-by: Helm}";
    taken(
        &format!(
            r"
# Source: web/templates/serviceaccount.yaml
apiVersion: v1
kind: ServiceAccount
metadata:
  name: shop-web
  labels: {labels}
automountServiceAccountToken: true
---
# Source: web/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: shop-web
  labels: {labels}
spec:
  type: ClusterIP
  ports:
  - {{port: 80, targetPort: http, protocol: TCP, name: http}}
  selector: {{app.kubernetes.io/name: web, app.kubernetes.io/instance: shop}}
---
# Source: web/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop-web
  labels: {labels}
spec:
  replicas: 1
  revisionHistoryLimit: 3
  selector:
    matchLabels: {{app.kubernetes.io/name: web, app.kubernetes.io/instance: shop}}
  template:
    metadata:
      annotations: {{checksum/config: 0a1b2c}}
      labels: {labels}
    spec:
      serviceAccountName: shop-web
      automountServiceAccountToken: true
      imagePullSecrets: []
      securityContext: {{runAsUser: 1000, runAsNonRoot: true}}
      containers:
      - name: web
        securityContext: {{}}
        image: example.com/web:1.0
        imagePullPolicy: IfNotPresent
        command: [web]
        ports: [{{name: http, containerPort: 8080, protocol: TCP}}]
        livenessProbe: {{httpGet: {{path: /, port: http}}}}
        readinessProbe: {{httpGet: {{path: /, port: http}}}}
        resources: {{}}
      nodeSelector: {{}}
      affinity: {{}}
      tolerations: []
"
        ),
        &[
            "ServiceAccount default/shop-web",
            "Service default/shop-web",
            "Deployment default/shop-web",
        ],
    );
}

#[test]
fn a_restricted_workload_with_limits_is_taken() {
    taken(
        r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      automountServiceAccountToken: false
      imagePullSecrets: [{name: registry}]
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {type: RuntimeDefault}
        sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '80'}]
      dnsConfig: {options: [{name: ndots, value: '2'}]}
      hostAliases: [{ip: 192.0.2.10, hostnames: [db.example.com]}]
      initContainers:
      - name: migrate
        image: registry.example.com/shop/migrate:2.1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        command: [migrate]
        resources: {limits: {cpu: 500m, memory: 256Mi}}
      containers:
      - name: shop
        image: registry.example.com/shop/web:2.1
        imagePullPolicy: IfNotPresent
        command: [shop]
        ports: [{name: http, containerPort: 8080, hostPort: 8080}]
        resources:
          requests: {cpu: 100m, memory: 128Mi}
          limits: {cpu: '1', memory: 256Mi}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
        env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        volumeMounts:
        - {name: tmp, mountPath: /tmp, subPathExpr: $(POD)}
        - {name: settings, mountPath: /etc/shop/shop.conf, subPath: shop.conf, readOnly: true}
      volumes:
      - {name: tmp, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
      - {name: settings, configMap: {name: shop}}
",
        &["Deployment default/shop"],
    );
}

#[test]
fn the_kinds_beside_them_are_taken() {
    taken(
        r"
apiVersion: v1
kind: EndpointsList
items:
- metadata: {name: db}
  subsets: [{addresses: [{ip: 192.0.2.42}], ports: [{port: 9376}]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: '', port: 9376, protocol: TCP}]
endpoints: [{addresses: [192.0.2.42]}]
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: leader}
spec: {holderIdentity: me, leaseDurationSeconds: 15}
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: mine}
handler: host
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: front}
spec:
  selector: {matchExpressions: [{key: tier, operator: In, values: [front]}]}
  template:
    metadata: {labels: {tier: front}}
    spec: {containers: [{name: front, image: front, command: [front]}]}
",
        &[
            "Endpoints default/db",
            "EndpointSlice default/db-1",
            "Lease default/leader",
            "RuntimeClass mine",
            "ReplicaSet default/front",
        ],
    );
}

#[test]
fn a_field_of_a_template_that_is_not_carried_out_has_its_place() {
    check_lines(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {a: b}}\n  \
         template:\n    metadata: {labels: {a: b}}\n    spec:\n      runtimeClassName: host\n      containers:\n      \
         - name: a\n        command: [a]\n        resources:\n          claims: [{name: a}]\n",
        &["t:14:19: spec.template.spec.containers[0].resources.claims: not carried out yet"],
    );
}
