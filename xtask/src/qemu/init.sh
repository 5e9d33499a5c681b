#!/bin/busybox sh
# The first process of the machine: what vfio-pci needs, then the checks, then the end. The roles of
# the cards are in variables, which the kernel takes from its command line.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tracefs trace /sys/kernel/tracing
mkdir -p /tmp

for module in irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci; do
    # A kernel that has them built in brings none.
    [ ! -e /modules/$module.ko ] || insmod /modules/$module.ko || echo "insmod $module failed"
done
# Every card to vfio-pci, by its ids.
echo 1af4 10f5 > /sys/bus/pci/drivers/vfio-pci/new_id

finish() {
    echo "what the kernel says of it:"
    dmesg | grep -iE 'dmar|iommu|vfio|fault' | tail -n 20
    poweroff -f
}

# The end comes with the last verdict, before the checker lets go of a card that is gone.
unlade-check-card check --stay 2>&1 | while read -r line; do
    echo "$line"
    case $line in "UNLADE end"*) finish ;; esac
done
finish
