"""One connection: messages in, images out, on any pair of byte streams."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from queue import Queue
from typing import Any, BinaryIO

import torch

from laminar.data.cases import MOST_ACCELERATED
from laminar.data.formats.arrival import Arrival, Part
from laminar.data.formats.guard import UNREADABLE
from laminar.data.formats.header import MrdHeader, parse_header
from laminar.data.masks import make_mask
from laminar.data.preparation import noise_std_of
from laminar.errors import DataFormatError, LaminarError, WireError, failure
from laminar.methods import Method, classical_method
from laminar.scan import Scan
from laminar.server import wire
from laminar.server.events import Events
from laminar.server.images import Pixels, meta_of, mrd_image
from laminar.server.limits import Limits
from laminar.server.parameters import NOT_USED, Request
from laminar.server.solving import Device, Solved, solved
from laminar.words import counted

LOG = logging.getLogger("laminar.server")
_MOST_LINES = 10
"""That are said of one message of the other end."""


@dataclass(frozen=True, eq=False)
class Service:
    """What all connections share: the models that were loaded, by name, the first being the default, and the device."""

    models: Mapping[str, Method]
    limits: Limits = field(default_factory=Limits)
    where: str = "cpu"
    device: Device = field(default_factory=Device)
    events: Events = field(default_factory=Events)
    pixels: str = "float32"

    @property
    def is_well(self) -> bool:
        """Whether no computation has outlived its deadline by far."""
        return self.device.busy < 3 * self.limits.deadline

    def method(self, request: Request) -> Method:
        return self.models[request.model] if request.method == "network" else classical_method(request.method)

    @property
    def request(self) -> Request:
        """What is done for whoever asks for nothing."""
        return Request(next(iter(self.models)), pixels=self.pixels)


@dataclass(frozen=True, eq=False)
class Waiting:
    """An image whose last readout came at a time of the monotonic clock, and how it is wanted."""

    part: Part
    request: Request
    since: float


class Session:
    """A connection: one thread reads and sorts, another one reconstructs what is complete and sends it.

    `run` returns when the other end closed, broke off, or sent what cannot be understood; all that was complete before
    is reconstructed and sent, and what was not is named. It raises nothing that the other end can cause.
    """

    def __init__(self, service: Service, source: BinaryIO, sink: BinaryIO, name: str = "stream") -> None:
        self.service, self.name = service, name
        self.images = self.lost = 0
        self._reader, self._writer = wire.Reader(source, service.limits), wire.Writer(sink)
        self._request = service.request
        self._header: MrdHeader | None = None
        self._arrival: Arrival | None = None
        self._readouts = 0
        self._noted: set[str] = set()
        self._complete: Queue[Waiting | None] = Queue(service.limits.waiting)
        self._pixels = Pixels()
        self._gone = threading.Event()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Finish the image in hand, and no other. The stream must end as well, for `run` to return."""
        self._stopping.set()

    def run(self) -> None:
        worker = threading.Thread(target=self._work, daemon=True, name=f"solve {self.name}")
        worker.start()
        try:
            self._read()
        except (LaminarError, EOFError) as error:
            self._say("ERROR", str(error))
        except OSError as error:  # the other end is gone, or silent
            self._say("ERROR", f"the connection broke: {error.strerror or error}")
        finally:
            self._complete.put(None)
            worker.join()
        self._ended()

    def _read(self) -> None:
        while not self._gone.is_set():
            message = self._reader.read()
            if message is None:
                if self._stopping.is_set():
                    return
                raise EOFError("the stream ended without CLOSE")
            if message.kind == wire.CLOSE:
                for part in self._arrival.rest() if self._arrival else ():
                    self._wait(part)
                return
            self._take(message)

    def _take(self, message: wire.Message) -> None:
        if message.kind in (wire.TEXT_MESSAGE, wire.CONFIG_TEXT):
            self._request, lines = self._request.told(message.value, self.service.models)
            for line in lines[:_MOST_LINES]:
                self._say("WARNING", f"{NOT_USED}: {line}")
            if (more := len(lines) - _MOST_LINES) > 0:
                self._say("WARNING", f"{NOT_USED}: {more} more")
        elif message.kind == wire.HEADER:
            self._begin(message.value)
        elif message.kind == wire.ACQUISITION:
            self._sort(message.value)
        elif message.kind == wire.IMAGE:
            raise WireError("images are not taken: expected readouts")

    def _begin(self, xml: str) -> None:
        if self._header is not None:
            raise WireError("a second header")
        if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
            raise WireError("the header declares a document type or entities: neither is taken")
        try:
            self._header = parse_header(xml)
        except DataFormatError:
            raise
        except UNREADABLE as error:
            raise WireError(f"the header cannot be understood: {error}") from error
        self.service.limits.check_matrix(self._header.encoded_matrix, 1)
        self._arrival = Arrival(self._header)

    def _sort(self, readout: Any) -> None:
        if self._arrival is None or self._header is None:
            raise WireError("a readout before the header")
        limits = self.service.limits
        self._readouts += 1
        self.service.events.readout()
        limits.check("readouts of a connection", self._readouts, limits.readouts)
        limits.check_matrix(self._header.encoded_matrix, int(readout[0]["active_channels"]))
        part = self._arrival.add(readout)
        if part is not None:
            self._wait(part)

    def _wait(self, part: Part) -> None:
        self.service.events.waiting(1)
        self._complete.put(Waiting(part, self._request, time.monotonic()))

    def _work(self) -> None:
        """Reconstruct and send, until None comes; where nobody listens any more, only empty the queue."""
        index = itertools.count(1)
        while (waiting := self._complete.get()) is not None:
            self.service.events.waiting(-1)
            if self._gone.is_set() or self._stopping.is_set():
                why = "the other end is gone" if self._gone.is_set() else "the server stops"
                self._lose(waiting.part, f"not reconstructed, {why}")
                continue
            try:
                self._reconstruct(waiting, index)
            except OSError as error:
                self._gone.set()
                self._lose(waiting.part, f"not sent, the other end is gone: {error.strerror or error}")
            except Exception as error:  # one image must not cost the others
                said = str(error) if isinstance(error, LaminarError) else failure(error) or type(error).__name__
                LOG.warning("%s: %s", self.name, said, exc_info=not isinstance(error, LaminarError))
                self._lose(waiting.part, f"no image: {said}")

    def _lose(self, part: Part, why: str) -> None:
        self.lost += 1
        self.service.events.lost()
        self._say("ERROR", f"{part}: {why}")

    def _reconstruct(self, waiting: Waiting, index: itertools.count[int]) -> None:
        part, request = waiting.part, waiting.request
        scan = part.scan()
        for note in scan.header.get("notes", ()):
            if note not in self._noted:
                self._say("WARNING", f"{part}: {note}")
        self._noted.update(scan.header.get("notes", ()))
        scan = self._undersampled(scan, request, str(part))
        if scan.noise_covariance is None and scan.noise_std is None:
            scan = replace(scan, noise_std=noise_std_of(scan))
        method = self.service.method(request)
        if request.samples and not method.draws:
            self._say("WARNING", f"{NOT_USED}: {method.no_samples()}")
        for plane in range(scan.n_slices):
            one = scan.slice(plane)
            found = solved(
                one,
                method,
                self.service.device,
                self.service.limits.deadline,
                samples=request.samples,
                where=self.service.where,
            )
            named = str(part) if scan.n_slices == 1 else f"{part}, plane {plane}"
            self._send(found, one, waiting, method, index)
            self._report(named, found)

    def _undersampled(self, scan: Scan, request: Request, named: str) -> Scan:
        """The scan as if it had been measured with the acceleration that is asked for."""
        if not request.acceleration:
            return scan
        if scan.measured_acceleration > MOST_ACCELERATED:
            rate = f"R = {scan.measured_acceleration:.2f}"
            self._say("WARNING", f"{NOT_USED}: acceleration: {named} is undersampled already, {rate}: left so")
            return scan
        self._say("INFO", f"{named}: undersampled {request.acceleration:g} times")
        axis = scan.grid.phase_axis
        return scan.undersample(make_mask("equispaced-fraction", scan.matrix, request.acceleration, 14, 0, axis))

    def _send(self, found: Solved, scan: Scan, waiting: Waiting, method: Method, index: itertools.count[int]) -> None:
        series, at = f"Laminar {method.name}", next(index)
        weights = method.fingerprint if found.method == method.name else None
        images = {"": found.done.magnitude}
        if found.done.spread is not None:
            images["uncertainty"] = found.done.spread.std.to(torch.float32)
        for number, (kind, image) in enumerate(images.items(), start=1):
            pixels, told, clipped = self._pixels.of(image, waiting.request.pixels, number)
            if clipped:
                bright = counted(clipped, "pixel is", "pixels are")
                self._say("WARNING", f"{waiting.part}: {bright} brighter than the scale of the series")
            meta = meta_of(found, series, weights, kind) | told
            self._writer.image(mrd_image(pixels, scan, waiting.part.head, meta, index=at, series=number))
        self.service.events.image(found, time.monotonic() - waiting.since)
        self.images += 1

    def _report(self, named: str, found: Solved) -> None:
        told = f"{named}: {found.method}, {found.seconds:.2f} s"
        if found.departure is not None:
            told += f", residual {found.departure:.2f} of the expected one"
        self._say("INFO", told)
        if found.reason is not None:
            self._say("WARNING", f"{named}: {found.reason}; made by {found.method}")
        if found.departs:
            self._say("WARNING", f"{named}: the image departs from the measured data")
        for line in found.done.log:
            self._say("INFO", f"{named}: {line}")

    def _say(self, level: str, text: str) -> None:
        """A line to the log and to the other end, if it still listens."""
        LOG.log(getattr(logging, level), "%s: %s", self.name, text)
        if not self._gone.is_set():
            try:
                self._writer.text(f"{level} {text}")
            except OSError:
                self._gone.set()

    def _ended(self) -> None:
        if self._arrival is not None and (late := self._arrival.late_note()):
            self._say("WARNING", late)
        if self._arrival is not None and (left := len(list(self._arrival.rest()))):
            self._say("ERROR", f"{counted(left, 'image was', 'images were')} not complete")
        if self.images == 0:
            self._say("INFO", "no image")
        if not self._gone.is_set():
            try:
                self._writer.close()
            except OSError:
                self._gone.set()
        done, of = counted(self.images, "image"), counted(self._readouts, "readout")
        LOG.info("%s: closed, %s of %s", self.name, done, of)
