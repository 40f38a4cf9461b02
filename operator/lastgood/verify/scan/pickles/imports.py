"""What a pickle may import: an allow-list, because no list of what is dangerous has ever been complete.

Each name here builds data from data. A name that calls what it is given, reads a file or changes the running
program does not belong here, whatever needs it.
"""

from typing import Final

from lastgood.api.names import Severity

_ALLOWED: Final = {
    # Plain values, made of plain values. Not getattr, type, eval, open or map, which reach or call something.
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "collections": "Counter OrderedDict defaultdict deque",  # defaultdict calls its factory, which is asked for as well
    "copyreg": "_reconstructor",  # object.__new__ of a class that is asked for as well: protocols 0 and 1
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "pathlib": "PosixPath PurePath PurePosixPath",  # names of files; making one opens nothing
    "uuid": "UUID",
    "_codecs": "encode",  # how protocols 0 to 2 write bytes; no codec of Python runs what it gets
    "numpy": "dtype ndarray bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"
    " complex64 complex128 str_ bytes_ object_ datetime64 timedelta64",
    # Arrays and scalars from bytes; objects in them are asked for one by one, and not unpickled once more.
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    # The state of a random generator, by the name of its kind. A constructor that they are given is asked for as well.
    "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
    # Tensors from storages. Not torch.load and torch.storage._load_from_bytes, which unpickle what they are given.
    "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter"
    " _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_meta_tensor_no_storage",
    "torch.serialization": "_get_layout",  # looks a layout up by its name, in a table of its own
    # Types, shapes, and names of storages, which ids declare and nothing calls.
    "torch": "device dtype Size Tensor BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage"
    " ComplexFloatStorage DoubleStorage FloatStorage HalfStorage IntStorage LongStorage QInt8Storage QInt32Storage"
    " QUInt8Storage QUInt4x2Storage QUInt2x4Storage ShortStorage UntypedStorage bfloat16 bool complex32 complex64"
    " complex128 float16 float32 float64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
    " float4_e2m1fn_x2 int8 int16 int32 int64 uint8 uint16 uint32 uint64 qint8 qint32 quint8 quint4x2 quint2x4"
    " per_channel_affine per_tensor_affine per_channel_affine_float_qparams strided sparse_coo sparse_csr sparse_csc"
    " sparse_bsr sparse_bsc contiguous_format preserve_format channels_last channels_last_3d",
    "torch.storage": "TypedStorage UntypedStorage _TypedStorage _UntypedStorage",
    "torch.nn.parameter": "Parameter Buffer",
}
ALLOWED: Final = frozenset((module, name) for module, names in _ALLOWED.items() for name in names.split())
_PYTHON_2: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # names that Python 3 takes for these
_MAX_NAME: Final = 200
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


_RUNS: Final = frozenset(["antigravity", "this", "__main__", "__hello__", "__phello__"])


def allowed(module: str, name: str, extra: frozenset[str]) -> bool:
    """Tell whether a pickle may import this: exactly what is listed, or what somebody named in full.

    There is no wildcard: a module holds what it imports itself, and `numpy.*` would be `numpy.testing` and its `exec`.
    """
    place = _PYTHON_2.get(module, module)
    return (place, name) in ALLOWED or f"{place}.{name}" in extra


def problem_with(name: str) -> str | None:
    """Return why this is no name that may be allowed, in a sentence, or None."""
    if "*" in name:
        return "wildcards are not taken: a module also holds what it imports itself. Name each class in full"
    parts = name.split(".")
    if len(name) > _MAX_NAME or len(parts) < 2 or not all(part.isidentifier() for part in parts):  # noqa: PLR2004 - a module and a name
        return "must be MODULE.NAME in full, such as sklearn.linear_model._logistic.LogisticRegression"
    return None


def runs(module: str) -> bool:
    """Tell whether importing a module is enough for it to do something, as far as Python's own are concerned."""
    return module.rpartition(".")[2] in _RUNS


def severity(module: str) -> Severity:
    """Return how grave an import is that is not allowed: code is run on purpose, or a class is unknown."""
    parts = _PYTHON_2.get(module, module).split(".")
    known = {".".join(parts[: count + 1]) for count in range(len(parts))} & _DANGEROUS
    return Severity.CRITICAL if known else Severity.HIGH
