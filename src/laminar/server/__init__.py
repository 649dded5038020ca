"""The MRD protocol: readouts come in over a stream, and images leave as soon as their last readout is there."""
