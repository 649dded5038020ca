"""An exported network on a scan, with NumPy and ONNX Runtime alone.

    python onnx_consumer.py network.onnx scan.npz image.npy

`scan.npz` holds `kspace` complex (coil, y, x), zero frequency in the middle and zero where nothing was sampled, the
sensitivities `maps` of the same shape, as BART's ecalib gives them, and `noise`, E|n|^2 = noise^2 of a sample. The
image (y, x) is complex, in the units of the scan.
"""

import sys

import numpy as np
import onnxruntime


def ifft2c(kspace: np.ndarray) -> np.ndarray:
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes), norm="ortho"), axes)


def pairs(array: np.ndarray) -> np.ndarray:
    return np.stack([array.real, array.imag], -1).astype(np.float32)


def reconstruct(program: str, kspace: np.ndarray, maps: np.ndarray, noise: float, lines: int = 12) -> np.ndarray:
    mask = (kspace != 0).any(0)
    power = np.sqrt((np.abs(maps) ** 2).sum(0))
    maps = np.divide(maps, power, where=power > 0, out=np.zeros_like(maps))
    middle = tuple(slice(n // 2 - lines // 2, n // 2 + lines // 2) for n in mask.shape)
    center = np.zeros_like(kspace)
    center[:, middle[0], middle[1]] = kspace[:, middle[0], middle[1]]
    scale = np.quantile(np.sqrt((np.abs(ifft2c(center)) ** 2).sum(0)), 0.99)  # the network knows images of about one
    session = onnxruntime.InferenceSession(program)
    told = {"y": pairs(kspace / scale), "mask": mask, "maps": pairs(maps), "sigma": np.array(noise / scale, np.float32)}
    image = session.run(None, told)[0]
    return scale * (image[..., 0] + 1j * image[..., 1])


if __name__ == "__main__":
    with np.load(sys.argv[2]) as scan:
        np.save(sys.argv[3], reconstruct(sys.argv[1], scan["kspace"], scan["maps"], float(scan["noise"])))
