"""SimCLR pretraining, fine-tuning and Grad-CAM for brain MRI slices, on a CPU."""
