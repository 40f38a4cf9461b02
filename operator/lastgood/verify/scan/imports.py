"""What a pickle may import: an allow-list, because no list of what is dangerous has ever been complete.

Each name here builds data from data. A name that calls what it is given, reads a file or changes the running
program does not belong here, whatever needs it.
"""

from typing import Final

from lastgood.api.names import Severity

_ALLOWED: Final = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "copyreg": "_reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "pathlib": "PosixPath PurePath PurePosixPath",
    "uuid": "UUID",
    "_codecs": "encode",
    "numpy": "dtype ndarray bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"
    " complex64 complex128 str_ bytes_ object_ datetime64 timedelta64",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
    "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter"
    " _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_meta_tensor_no_storage",
    "torch": "device dtype Size Tensor BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage"
    " ComplexFloatStorage DoubleStorage FloatStorage HalfStorage IntStorage LongStorage QInt8Storage QInt32Storage"
    " QUInt8Storage ShortStorage bfloat16 bool complex64 complex128 float16 float32 float64 float8_e4m3fn"
    " float8_e5m2 int8 int16 int32 int64 uint8 per_channel_affine per_tensor_affine strided sparse_coo",
    "torch.storage": "TypedStorage UntypedStorage _TypedStorage _UntypedStorage",
    "torch.nn.parameter": "Parameter Buffer",
}
ALLOWED: Final = frozenset(f"{module}.{name}" for module, names in _ALLOWED.items() for name in names.split())
_PYTHON_2: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # names that Python 3 takes for these
_DANGEROUS: Final = frozenset(
    [
        "os",
        "posix",
        "nt",
        "subprocess",
        "_posixsubprocess",
        "pty",
        "sys",
        "builtins",
        "importlib",
        "imp",
        "runpy",
        "code",
        "codeop",
        "commands",
        "ctypes",
        "_ctypes",
        "socket",
        "_socket",
        "ssl",
        "http",
        "urllib",
        "ftplib",
        "smtplib",
        "requests",
        "httpx",
        "aiohttp",
        "shutil",
        "tempfile",
        "webbrowser",
        "platform",
        "pickle",
        "_pickle",
        "cPickle",
        "dill",
        "cloudpickle",
        "joblib",
        "marshal",
        "types",
        "functools",
        "operator",
        "_operator",
        "inspect",
        "timeit",
        "bdb",
        "pdb",
        "cProfile",
        "profile",
        "trace",
        "doctest",
        "asyncio",
        "multiprocessing",
        "threading",
        "_thread",
        "signal",
        "gc",
        "pip",
        "setuptools",
        "distutils",
        "venv",
        "ensurepip",
        "pydoc",
        "idlelib",
        "lib2to3",
        "test",
        "zipimport",
        "pkgutil",
        "site",
        "sysconfig",
        "nturl2path",
        "torch.hub",
        "torch.jit",
        "torch.serialization",
        "torch.utils",
        "numpy.testing",
        "numpy.f2py",
        "numpy.load",
        "linecache",
        "io",
        "_io",
        "codecs",
        "pathlib",
        "mmap",
        "fcntl",
        "resource",
        "logging",
        "tensorflow",
        "keras.utils",
    ]
)


def allowed(module: str, name: str, extra: frozenset[str]) -> bool:
    """Tell whether a pickle may import this: exactly as listed, or below `module.*`."""
    place = _PYTHON_2.get(module, module)
    if f"{place}.{name}" in ALLOWED or f"{place}.{name}" in extra:
        return True
    # A dotted name reaches through what it names (`deque.__init__.__globals__`): never by wildcard.
    return "." not in name and any(f"{prefix}.*" in extra for prefix in _prefixes(place))


def severity(module: str) -> Severity:
    """Return how grave an import is that is not allowed: code is run on purpose, or a class is unknown."""
    known = {*_prefixes(_PYTHON_2.get(module, module))} & _DANGEROUS
    return Severity.CRITICAL if known else Severity.HIGH


def _prefixes(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]
