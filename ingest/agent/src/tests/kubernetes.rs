//! The `DaemonSet` against Kubernetes' API, and against what it promises: it reads the node, changes nothing there but its spool, and
//! has no more rights than that takes.

use serde_yaml_ng::Value;

const MANIFEST: &str = include_str!("../../packaging/kubernetes.yaml");

/// The program's options are the fields of its command line.
const COMMAND_LINE: &str = include_str!("../main.rs");

/// Fields by the place of their object, lists left out: Kubernetes' API reference 1.31, `DaemonSet` (apps/v1) and `PodSpec`, `Container` and
/// `Volume` (core/v1), as far as an agent could want them. `*` is any key.
const FIELDS: &[(&str, &[&str])] = &[
    ("", &["apiVersion", "kind", "metadata", "spec"]),
    ("metadata", &["name", "namespace", "labels", "annotations"]),
    ("metadata.labels", &["*"]),
    (
        "spec",
        &[
            "selector",
            "template",
            "updateStrategy",
            "minReadySeconds",
            "revisionHistoryLimit",
        ],
    ),
    ("spec.selector", &["matchLabels", "matchExpressions"]),
    ("spec.selector.matchLabels", &["*"]),
    ("spec.updateStrategy", &["type", "rollingUpdate"]),
    ("spec.updateStrategy.rollingUpdate", &["maxUnavailable", "maxSurge"]),
    ("spec.template", &["metadata", "spec"]),
    ("spec.template.metadata", &["labels", "annotations"]),
    ("spec.template.metadata.labels", &["*"]),
    (
        "spec.template.spec",
        &[
            "affinity",
            "automountServiceAccountToken",
            "containers",
            "dnsPolicy",
            "hostIPC",
            "hostNetwork",
            "hostPID",
            "imagePullSecrets",
            "initContainers",
            "nodeSelector",
            "priorityClassName",
            "restartPolicy",
            "securityContext",
            "serviceAccountName",
            "terminationGracePeriodSeconds",
            "tolerations",
            "volumes",
        ],
    ),
    (
        "spec.template.spec.tolerations",
        &["key", "operator", "value", "effect", "tolerationSeconds"],
    ),
    (
        "spec.template.spec.containers",
        &[
            "args",
            "command",
            "env",
            "image",
            "imagePullPolicy",
            "livenessProbe",
            "name",
            "ports",
            "readinessProbe",
            "resources",
            "securityContext",
            "startupProbe",
            "volumeMounts",
        ],
    ),
    ("spec.template.spec.containers.env", &["name", "value", "valueFrom"]),
    (
        "spec.template.spec.containers.env.valueFrom",
        &["fieldRef", "secretKeyRef", "configMapKeyRef", "resourceFieldRef"],
    ),
    (
        "spec.template.spec.containers.env.valueFrom.fieldRef",
        &["apiVersion", "fieldPath"],
    ),
    (
        "spec.template.spec.containers.resources",
        &["requests", "limits", "claims"],
    ),
    (
        "spec.template.spec.containers.resources.requests",
        &["cpu", "memory", "ephemeral-storage"],
    ),
    (
        "spec.template.spec.containers.resources.limits",
        &["cpu", "memory", "ephemeral-storage"],
    ),
    (
        "spec.template.spec.containers.securityContext",
        &[
            "allowPrivilegeEscalation",
            "appArmorProfile",
            "capabilities",
            "privileged",
            "procMount",
            "readOnlyRootFilesystem",
            "runAsGroup",
            "runAsNonRoot",
            "runAsUser",
            "seLinuxOptions",
            "seccompProfile",
        ],
    ),
    (
        "spec.template.spec.containers.securityContext.capabilities",
        &["add", "drop"],
    ),
    (
        "spec.template.spec.containers.securityContext.seccompProfile",
        &["type", "localhostProfile"],
    ),
    (
        "spec.template.spec.containers.volumeMounts",
        &[
            "mountPath",
            "mountPropagation",
            "name",
            "readOnly",
            "recursiveReadOnly",
            "subPath",
            "subPathExpr",
        ],
    ),
    (
        "spec.template.spec.volumes",
        &["name", "hostPath", "secret", "emptyDir", "configMap", "projected"],
    ),
    ("spec.template.spec.volumes.hostPath", &["path", "type"]),
    (
        "spec.template.spec.volumes.secret",
        &["secretName", "defaultMode", "items", "optional"],
    ),
];

/// Places of keys that no object there has.
fn unknown(value: &Value, place: &str, out: &mut Vec<String>) {
    match value {
        Value::Sequence(all) => all.iter().for_each(|value| unknown(value, place, out)),
        Value::Mapping(fields) => {
            let known = FIELDS
                .iter()
                .find(|(at, _)| *at == place)
                .map_or(&[][..], |(_, fields)| fields);
            for (key, value) in fields {
                let key = key.as_str().expect("keys are text");
                let at = if place.is_empty() {
                    key.to_owned()
                } else {
                    format!("{place}.{key}")
                };
                if !known.contains(&key) && known != ["*"] {
                    out.push(at.clone());
                }
                unknown(value, &at, out);
            }
        }
        _ => {}
    }
}

/// The value at a place such as `spec.template`; null where there is none.
fn at<'v>(value: &'v Value, place: &str) -> &'v Value {
    place.split('.').fold(value, |value, key| match key.parse::<usize>() {
        Ok(index) => &value[index],
        Err(_) => &value[key],
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The agent's pod and its one container.
fn agent(manifest: &Value) -> (&Value, &Value) {
    let pod = at(manifest, "spec.template.spec");
    assert_eq!(list(&pod["containers"]).len(), 1);
    (pod, at(pod, "containers.0"))
}

fn manifest() -> Value {
    serde_yaml_ng::from_str(MANIFEST).expect("one document of YAML")
}

#[test]
fn every_field_is_one_that_kubernetes_knows() {
    let manifest = manifest();
    assert_eq!(
        (text(&manifest["apiVersion"]), text(&manifest["kind"])),
        ("apps/v1", "DaemonSet")
    );
    let mut strange = Vec::new();
    unknown(&manifest, "", &mut strange);
    assert_eq!(strange, [] as [String; 0]);
    // The check itself sees what is misspelt.
    let misspelt = MANIFEST.replace("hostPID", "hostPid").replace("mountPath", "path");
    let misspelt: Value = serde_yaml_ng::from_str(&misspelt).expect("YAML");
    unknown(&misspelt, "", &mut strange);
    assert_eq!(strange.len(), 4, "{strange:?}");
    // Pods that their own set would not know are refused.
    let selected = at(&manifest, "spec.selector.matchLabels");
    assert_eq!(at(&manifest, "spec.template.metadata.labels"), selected);
    assert!(selected.as_mapping().is_some_and(|labels| !labels.is_empty()));
}

#[test]
fn it_reads_the_node_and_may_change_its_spool_alone() {
    let manifest = manifest();
    let (pod, agent) = agent(&manifest);
    for told in ["hostPID", "hostNetwork"] {
        assert_eq!(
            pod[told],
            Value::Bool(true),
            "{told}: the container's own would say nothing of the node"
        );
    }
    assert_eq!(
        text(&pod["dnsPolicy"]),
        "ClusterFirstWithHostNet",
        "the server may be one of the cluster's"
    );
    assert_eq!(
        pod["automountServiceAccountToken"],
        Value::Bool(false),
        "it talks to no API"
    );
    assert_eq!(
        text(at(pod, "tolerations.0.operator")),
        "Exists",
        "every node is watched"
    );
    let volumes: Vec<&str> = list(&pod["volumes"])
        .iter()
        .map(|volume| text(&volume["name"]))
        .collect();
    let mounts = list(&agent["volumeMounts"]);
    let mounted: Vec<&str> = mounts.iter().map(|mount| text(&mount["name"])).collect();
    assert_eq!(
        mounted, volumes,
        "what is mounted is there, and what is there is mounted"
    );
    let options = |name: &str| {
        let prefix = format!("--{name}=");
        let given = list(&agent["args"])
            .iter()
            .find_map(|arg| text(arg).strip_prefix(&prefix));
        given.unwrap_or_default().to_owned()
    };
    for (mount, volume) in mounts.iter().zip(list(&pod["volumes"])) {
        let path = text(&mount["mountPath"]);
        let may_write = mount["readOnly"] != Value::Bool(true);
        assert_eq!(may_write, path == options("spool"), "{path}");
        // Restarted on the node, it goes on where it was.
        assert!(
            !may_write || text(at(volume, "hostPath.type")) == "DirectoryOrCreate",
            "{path}"
        );
        let is_root = text(at(volume, "hostPath.path")) == "/";
        assert_eq!(is_root, path == options("host-root"), "{path}");
        // Mounts that the node gets later are seen as well.
        assert!(
            !is_root || text(&mount["mountPropagation"]) == "HostToContainer",
            "{path}"
        );
    }
    assert!(options("token-file").starts_with("/etc/foreshock-agent/"));
    assert_eq!(options("host-name"), "$(NODE_NAME)");
    assert_eq!(text(at(agent, "env.0.name")), "NODE_NAME");
    assert_eq!(text(at(agent, "env.0.valueFrom.fieldRef.fieldPath")), "spec.nodeName");
}

#[test]
fn it_has_no_rights_beyond_that_and_its_share_is_bounded() {
    let manifest = manifest();
    let (pod, agent) = agent(&manifest);
    let rights = &agent["securityContext"];
    assert_eq!(rights["readOnlyRootFilesystem"], Value::Bool(true));
    assert_eq!(rights["allowPrivilegeEscalation"], Value::Bool(false));
    assert_eq!(rights["privileged"], Value::Null);
    assert_eq!(at(rights, "capabilities.drop"), &Value::from(vec!["ALL"]));
    assert_eq!(at(rights, "capabilities.add"), &Value::Null);
    assert_eq!(text(at(rights, "seccompProfile.type")), "RuntimeDefault");
    assert_eq!(text(at(pod, "volumes.1.secret.secretName")), "foreshock-agent");
    assert_eq!(
        at(pod, "volumes.1.secret.defaultMode").as_u64(),
        Some(0o400),
        "root alone reads it"
    );
    // The unit's own bounds (install.rs): a tenth of a processor and 64 MiB.
    assert_eq!(text(at(agent, "resources.limits.cpu")), "100m");
    assert_eq!(text(at(agent, "resources.limits.memory")), "64Mi");
    for share in ["cpu", "memory"] {
        assert!(!text(&agent["resources"]["requests"][share]).is_empty(), "{share}");
    }
    // It listens nowhere, and what it asks of a node that hangs has deadlines; a probe would end it while the server is away.
    for probe in ["livenessProbe", "readinessProbe", "startupProbe", "ports"] {
        assert_eq!(agent[probe], Value::Null, "{probe}");
    }
}

#[test]
fn its_options_are_the_programs() {
    let manifest = manifest();
    let (_, agent) = agent(&manifest);
    let mut args = list(&agent["args"]).iter().map(text);
    assert_eq!(args.next(), Some("run"));
    for arg in args {
        let option = arg.strip_prefix("--").and_then(|arg| arg.split_once('=')).expect(arg);
        let field = format!("    {}: ", option.0.replace('-', "_"));
        assert!(COMMAND_LINE.contains(&field), "{arg}");
    }
}
