"""Variables and annotations that no binding may set: they change what a program is, not which model it loads.

A list of dangerous names is never complete. It is the second line: the first is that the workload's owner says what may
be bound (`api.bindable`). Whoever finds a name that is missing adds a line.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Names with one reason; a name that ends in `*` stands for all that begin so, one that begins with it likewise."""

    why: str
    names: str


VARIABLES: tuple[_Group, ...] = (
    _Group(
        why="it says which libraries are loaded into every program",
        names="LD_* LDR_* DYLD_* _RLD* LIBPATH SHLIB_PATH *_PRELOAD *_LIBRARY_PATH LIBRARY_PATH",
    ),
    _Group(
        # What glibc itself ignores in programs with more rights than their caller (its list of unsafe variables).
        why="it changes how the C library works, or what it loads",
        names="GLIBC_* GCONV_PATH GETCONF_DIR LOCPATH NLSPATH HOSTALIASES LOCALDOMAIN RES_OPTIONS RESOLV_* NIS_PATH "
        "TZ TZDIR MALLOC_* _RJEM_* JE_MALLOC* TCMALLOC_* NSS_* MUSL_* TERMINFO* TERMCAP",
    ),
    _Group(
        # glibc and gcc: sanitizers and coverage write files, and load libraries, where these say.
        why="it makes the tools of a compiler, or of a debugger, write or load something",
        names="ASAN_* LSAN_* MSAN_* TSAN_* UBSAN_* GCOV_* LLVM_* VALGRIND_* CC CXX CPP AR AS NM CFLAGS CXXFLAGS "
        "LDFLAGS CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH COMPILER_PATH GCC_* CCACHE_* CMAKE_* PKG_CONFIG* MAKEFLAGS "
        "MFLAGS NVCC_*",
    ),
    _Group(
        why="it says where programs are found, and which one runs",
        names="PATH PATHEXT COMSPEC WINDIR SYSTEMROOT PSMODULEPATH SHELL *_SHELL EDITOR *_EDITOR VISUAL FCEDIT "
        "PAGER *_PAGER BROWSER LESS LESSOPEN LESSCLOSE LESSKEY* *_COMMAND *_CMD *_ASKPASS *_HOOK SSH_* SVN_SSH "
        "CVS_RSH RSYNC_* HGRCPATH HGMERGE TAR_OPTIONS GZIP",
    ),
    _Group(
        why="a shell runs it, or reads what follows differently",
        names="IFS ENV BASH_* SHELLOPTS BASHOPTS PROMPT_COMMAND PS0 PS1 PS2 PS3 PS4 CDPATH GLOBIGNORE HISTFILE "
        "ZDOTDIR FPATH KSH_* FISH_*",
    ),
    _Group(
        # Where a program looks for its configuration is where it finds what to run: ~/.local, sitecustomize, rc files.
        why="programs look there for configuration, plugins and temporary files",
        names="HOME USERPROFILE APPDATA LOCALAPPDATA XDG_* TMPDIR TMP TEMP PWD OLDPWD CURL_HOME TERM_PROGRAM "
        "*_PLUGIN_PATH *_PLUGINS *_PLUGIN_DIR *_MODULE_PATH *_RC_FILE *_INIT_FILE *_STARTUP_FILE",
    ),
    _Group(
        why="it configures Python or its package installer",
        names="PYTHON* __PYVENV_* VIRTUAL_ENV PYENV_* PIP_* UV_* POETRY_* PDM_* CONDA_* MAMBA_* IPYTHON* JUPYTER_* "
        "PYTEST_* COVERAGE_* COV_CORE_* NUMBA_* MPLCONFIGDIR MPLBACKEND DJANGO_* FLASK_* CELERY_* GUNICORN_* "
        "UWSGI_* UVICORN_* HYPERCORN_* SETUPTOOLS_* DISTUTILS_* SETTINGS_MODULE CYTHON_*",
    ),
    _Group(
        why="it configures the runtime of a language",
        names="PERL* RUBY* GEM_* BUNDLE_* BUNDLER_* RAILS_* NODE_OPTIONS NODE_PATH NODE_REPL_* NODE_ICU_* NODE_V8_* "
        "NODE_DEBUG* NODE_PENDING_* NODE_REDIRECT_* NPM_* YARN_* PNPM_* ELECTRON_* DENO_* BUN_* TS_NODE_* JAVA_* "
        "_JAVA_* JDK_* JRE_* JVM_* *_JVM_ARGS CLASSPATH *_CLASSPATH CATALINA_* MAVEN_* MVN_* GRADLE_* SBT_* "
        "LOADER_PATH LOADER_MAIN LOADER_HOME LOADER_CONFIG* LOG4J* LOGBACK_* SPRING_* QUARKUS_* MICRONAUT_* "
        "DOTNET_* COMPLUS_* COR_PROFILER* COR_ENABLE* CORECLR_* ASPNETCORE_* MONO_* NUGET_* PHP_* PHPRC COMPOSER_* "
        "LUA_* LUAJIT_* R_HOME R_PROFILE* R_ENVIRON* R_LIBS* R_DEFAULT_PACKAGES JULIA_* GODEBUG GOFLAGS GOPROXY "
        "GOROOT GOPATH GOENV GOCOVERDIR GOTOOLCHAIN GOSUMDB GONOSUMDB GOPRIVATE RUSTC* RUSTUP_* CARGO_* ERL_* "
        "ERLANG_* ELIXIR_* MIX_HOME MIX_EXS MIX_ARCHIVES MIX_PATH HEX_HOME HEX_MIRROR* TCLLIBPATH TCL_* "
        "OCAMLRUNPARAM CAML_* GUILE_* GHCRTS AWKPATH AWKLIBPATH VIMINIT EXINIT GVIMINIT VIM VIMRUNTIME EMACS* "
        "*_OPTS *_OPTIONS *_ARGS *_FLAGS",
    ),
    _Group(
        # What a model server trusts of a checkpoint, and the code, kernels and back ends that it loads besides.
        why="it makes a framework or driver load code, or trust more than it should",
        names="TORCH_FORCE_* TORCH_EXTENSIONS_* TORCH_HOME TORCH_HUB* TORCH_DEVICE_BACKEND_* TORCH_LOGS* "
        "TORCHINDUCTOR_* PYTORCH_CUDA_* PYTORCH_JIT* PYTORCH_KERNEL_* PYTORCH_TRANSFORMERS_CACHE PYTORCH_NVML_* "
        "TRITON_CACHE* TRITON_PTXAS* TRITON_CUOBJDUMP* TRITON_NVDISASM* TRITON_OVERRIDE* TRITON_DUMP* TRITON_LIB* "
        "TRITON_HOME TRITON_PLUGIN* CUDA_* NVIDIA_* NCCL_* CUPTI_* CUDNN_* HSA_* HIP_* ROCM_* ROCP_* ROCR_* AMD_* "
        "GPU_* INTEL_* ZE_* SYCL_* UCX_* OMPI_* PMIX_* MCA_* OMP_TOOL* KMP_* GGML_BACKEND* XLA_FLAGS TF_XLA_* "
        "TF_CONFIG TPU_* PJRT_* JAX_COMPILATION_* JAX_PLATFORM* KERAS_BACKEND KERAS_HOME TRANSFORMERS_CACHE HF_HOME "
        "HF_HUB_* HF_ENDPOINT HF_MODULES_* HF_DATASETS_* HF_ASSETS_* *TRUST_REMOTE_CODE* VLLM_PLUGINS VLLM_ALLOW_* "
        "VLLM_TARGET_* TS_CONFIG_FILE *_LOGGING_CONFIG* LOG_CONFIG* SAGEMAKER_PROGRAM SAGEMAKER_SUBMIT_DIRECTORY "
        "*_MODEL_IMPLEMENTATION *_ENTRYPOINT *_ENTRY_POINT *_EXTERNAL_MODEL_PACKAGE *_BACKEND_DIR* "
        "APP_MODULE FUNCTION_TARGET MLFLOW_TRACKING_* BENTOML_CONFIG* BENTOML_HOME RAY_* DASK_* SPARK_* PYSPARK_* "
        "HADOOP_* GDAL_* MAGICK_* GST_* GIO_* GTK_* QT_* VK_LAYER* VK_ICD* VK_DRIVER* VK_ADD_* VK_LOADER* OCL_* "
        "OPENCL_* LIBGL_* LIBVA_* ALSA_* LADSPA_* DBUS_* ODBC* PG* MYSQL_* SQLITE_*",
    ),
    _Group(
        why="it redirects connections, or adds a trusted certificate",
        names="*_PROXY SOCKS* PROXYCHAINS_* TSOCKS_* SSL_* SSLKEYLOGFILE TLS_* OPENSSL_* GNUTLS_* PKCS11_* P11_* "
        "SOFTHSM* NODE_EXTRA_CA_CERTS NODE_TLS_* *_CA_BUNDLE *_CA_CERT *_CA_CERTS *_CA_FILE *_CA_PATH *_CERT_FILE "
        "*_CERT_DIR *_SSL_NO_VERIFY CURL_* WGETRC GRPC_* HTTPLIB2_* REQUESTS_* GNUPG* GPG_* KRB5* SASL_* GSS_*",
    ),
    _Group(
        why="it tells a tool its repository, server or credentials",
        names="GIT_* DOCKER_* CONTAINER_HOST CONTAINERS_* REGISTRY_AUTH* BUILDKIT_* PODMAN_* HELM_* KUBE* AWS_* "
        "AZURE_* ARM_CLIENT_* ARM_TENANT_* GOOGLE_* GCLOUD_* GCP_* GCE_* CLOUDSDK_* BOTO_* BOTO S3_ENDPOINT* "
        "S3_ACCESS_* S3_SECRET_* S3_USE_* S3_VERIFY_* MINIO_* MC_HOST_* MC_CONFIG* RCLONE_* VAULT_* CONSUL_* "
        "NOMAD_* TF_VAR_* NETRC *_TOKEN *_TOKEN_FILE *_PASSWORD *_PASSWORD_FILE *_PASSWD *_PASSPHRASE *_SECRET "
        "*_SECRET_KEY *_CREDENTIAL *_CREDENTIALS *_API_KEY *_APIKEY *_ACCESS_KEY *_ACCESS_KEY_ID *_PRIVATE_KEY "
        "TOKEN PASSWORD SECRET *_NETRC",
    ),
    _Group(
        why="it loads a monitoring agent, or tells it where to send data",
        names="OTEL_* DD_* NEW_RELIC_* ELASTIC_APM_* SENTRY_* DT_TENANT* DT_AGENT* DT_CUSTOM* DT_CONNECTION* "
        "DT_LOADER* RUXIT_* SW_AGENT_* APPDYNAMICS_* SIGNALFX_* SPLUNK_* DATADOG_* HONEYCOMB_* PYROSCOPE_*",
    ),
    _Group(why="lastgood reads it itself", names="LASTGOOD_*"),
)

ANNOTATIONS: tuple[_Group, ...] = (
    _Group(why="lastgood writes it itself", names="lastgood.dev"),
    _Group(
        # AppArmor, seccomp, CDI devices, networks, kubectl's restart: all of them Kubernetes' own.
        why="it is reserved for Kubernetes",
        names="kubernetes.io k8s.io cncf.io x-k8s.io k8s.aws k8s.ovn.org openshift.io",
    ),
    _Group(
        why="it configures a container runtime: devices, mounts, even the program of a sandbox",
        names="crio.io nri.io io.* run.oci.* com.* org.* oci.* nvidia.com amd.com intel.com gvisor.dev "
        "katacontainers.io",
    ),
    _Group(
        why="it configures a service mesh or a network",
        names="istio.io linkerd.io kuma.io consul.hashicorp.com openservicemesh.io cilium.io projectcalico.org "
        "antrea.io dapr.io traefik.io envoyproxy.io getambassador.io telepresence.io tetrate.io solo.io nsm.dev "
        "networkservicemesh.io multus-cni.io submariner.io kube-ovn.io ovn.org",
    ),
    _Group(
        why="it makes an injector add secrets, code or containers to the pod",
        names="hashicorp.com banzaicloud.io banzaicloud.com bank-vaults.io opentelemetry.io datadoghq.com "
        "dynatrace.com newrelic.com elastic.co instana.io appdynamics.com splunk.com odigos.io akeyless.io "
        "cyberark.com conjur.org infisical.com doppler.com 1password.com onepassword.com external-secrets.io "
        "bitnami.com spiffe.io spire.io teleport.dev fluentbit.io fluentd.org logging.io sidecar-injector* "
        "*-injector* pixie.io stakater.com keel.sh kyverno.io gatekeeper.sh knative.dev kubeflow.org kserve.io "
        "seldon.io volcano.sh ray.io tekton.dev argoproj.io fluxcd.io fluxcd.com keda.sh robusta.dev vcluster.com "
        "loft.sh gremlin.com chaos-mesh.org",
    ),
    _Group(
        why="it gives the pod a cloud identity, volume or network",
        names="amazonaws.com eks.aws aws google.com gke.io gke-* googleapis.com azure.com azure.net "
        "azure.workload.identity* windows.net aliyun.com alibabacloud.com tencent.com tencentcloud.com "
        "oraclecloud.com oci.oraclecloud.com ibm.com digitalocean.com linode.com virtual-kubelet.io",
    ),
    _Group(why="metrics collectors find the pod by it", names="prometheus.io"),
)


def variable_refusal(name: str) -> str:
    """Return why a variable may never be bound, or nothing; programs disagree on case, so it makes no difference."""
    upper = name.upper()
    return next((group.why for group in VARIABLES if any(_is(upper, item) for item in group.names.split())), "")


def annotation_refusal(name: str) -> str:
    """Return why an annotation may never be bound, or nothing; a domain stands for all below it as well."""
    domain = name.lower().partition("/")[0]
    return next((group.why for group in ANNOTATIONS if any(_below(domain, item) for item in group.names.split())), "")


def _is(name: str, pattern: str) -> bool:
    core = pattern.strip("*")
    match pattern.startswith("*"), pattern.endswith("*"):
        case True, True:
            return core in name
        case True, False:
            return name.endswith(core)
        case False, True:
            return name.startswith(core)
        case _:
            return name == core


def _below(domain: str, pattern: str) -> bool:
    return _is(domain, pattern) or ("*" not in pattern and domain.endswith(f".{pattern}"))
